"""The cases, as a table; what they do is in play.py."""

from dataclasses import dataclass
from functools import partial
from typing import Callable

from . import exchanges, lists, play, rust, verifiers

PEERS = ("python", "go", "java", "envoy")
WITH_RUST = (*PEERS, "rust")


@dataclass(frozen=True)
class Case:
    subject: str
    name: str
    peers: tuple
    play: Callable

    @property
    def title(self):
        return f"{self.subject} {self.name}"

    @property
    def id(self):
        return f"{self.subject.replace('→', '-')}/{self.name}"


def all_cases():
    return [*pair_cases(), *peer_cases(), *rust_cases(), *list_cases(), *token_cases(), *single_cases()]


def pair_cases():
    for client in WITH_RUST:
        for server in WITH_RUST:
            for shape in ("unary", "stream"):
                run = partial(play.pair, client=client, server=server, shape=shape)
                yield Case(f"{client}→{server}", shape, (client, server), run)


EACH_PEER = {
    "many": play.many,
    "byte-by-byte": play.byte_by_byte,
    "right-account": play.right_account,
    "wrong-account": play.wrong_account,
    "foreign-client": play.foreign_client,
    "foreign-server": play.foreign_server,
    "no-handshaker-client": play.no_handshaker_client,
    "no-handshaker-server": play.no_handshaker_server,
    "plaintext-client": play.plaintext_client,
    "dead-proxy": play.dead_proxy,
}
# What a case needs besides its own peer.
ALSO = {"plaintext-client": ("python",), "dead-proxy": ("exec",)}


def peer_cases():
    for name, run in EACH_PEER.items():
        for peer in WITH_RUST:
            yield Case(f"{peer}→{peer}", name, (peer, *ALSO.get(name, ())), partial(run, peer=peer))


RUST = {
    "bulk": rust.bulk,
    "one-byte": rust.one_byte,
    "client-closes-first": rust.client_closes_first,
    "server-closes-first": rust.server_closes_first,
}


def rust_cases():
    pairs = [("rust", other) for other in WITH_RUST] + [(other, "rust") for other in PEERS]
    for name, run in RUST.items():
        for client, server in pairs:
            yield Case(f"{client}→{server}", name, (client, server), partial(run, client=client, server=server))
    for server in rust.MEGABYTES_GIVEN:
        run = partial(rust.rekey, client="rust", server=server)
        yield Case(f"rust→{server}", "rekey", ("rust", server), run)
    for client, server in (("rust", "rust"), ("rust", "python"), ("python", "rust"), ("rust", "go"), ("go", "rust")):
        run = partial(rust.greeter, client=client, server=server)
        yield Case(f"{client}→{server}", "greeter", (client, server), run)


# The cases of peer lists, and who plays them: what is altsd's alone is not played with everybody.
LISTS = {
    "list-allows": (lists.allowed, PEERS),
    "list-refuses-client": (lists.client_refuses, WITH_RUST),
    "list-refuses-server": (lists.server_refuses, WITH_RUST),
    "list-status": (lists.envoy_status, ("envoy",)),
    "default-refuses": (lists.client_default_refuses, ("go",)),
    "target-name": (lists.target_name, ("python", "go")),
    "target-commands": (lists.target_commands, ("go", "java")),
    "target-unnamed": (lists.target_unnamed, ("envoy",)),
    "shadow-rule": (lists.shadow, ("python", "go", "envoy")),
    "list-file-changed": (lists.file_changed, ("python", "go", "envoy")),
    "policy-commands": (lists.commands_change, WITH_RUST),
    "revoke-account": (lists.revoked_account, PEERS),
    "revoke-certificate": (lists.revoked_certificate, ("python", "go", "envoy")),
    "revoke-key": (lists.revoked_key, ("python", "go", "envoy")),
}


def list_cases():
    for name, (run, peers) in LISTS.items():
        for peer in peers:
            yield Case(f"{peer}→{peer}", name, (peer,), partial(run, peer=peer))


VERIFIER = {
    "expired": verifiers.expired,
    "wrong-audience": verifiers.wrong_audience,
    "unknown-key": verifiers.unknown_key,
    "forged": verifiers.forged,
    "missing": verifiers.missing,
    "commands": verifiers.commands,
    "emergency-rotation": verifiers.emergency,
}


def token_cases():
    for kind in ("ES256", "EdDSA", "RS256"):
        yield Case("tokens→envoy", kind, ("envoy",), partial(verifiers.minted, kind=kind))
    for name, run in VERIFIER.items():
        yield Case("tokens→envoy", name, ("envoy",), run)
    for name, run in verifiers.POLICIES.items():
        yield Case("tokens→istio", name, ("envoy", "tokens"), run)
    for name in ("sts-client", "identity-pool"):
        run = partial(exchanges.from_presented, client=name)
        yield Case("google→tokens", name, ("envoy", "tokens"), run)
    for name in ("compute-engine", "fetch-id-token"):
        run = partial(exchanges.from_metadata, client=name)
        yield Case("google→tokens", name, ("envoy", "tokens"), run)
    for name in ("public", "confidential"):
        run = partial(exchanges.from_presented, client=name)
        yield Case("authlib→tokens", name, ("envoy", "tokens"), run)
    yield Case("go→tokens", "sts", ("go", "envoy", "exec"), exchanges.go_sts)
    yield Case("envoy→tokens", "sts", ("envoy", "tokens"), exchanges.core_sts)
    yield Case("envoy→tokens", "metadata", ("envoy",), exchanges.envoy_metadata)
    yield Case("python→tokens", "handshake", ("tokens", "go", "envoy", "exec", "root"), exchanges.handshake)
    yield Case("tokens→spiffe", "svid", ("envoy", "tokens", "vectors"), exchanges.svid)


def single_cases():
    yield Case("go→python", "many", ("go", "python"), partial(play.many, peer="go", server="python"))
    yield Case("python→go", "many", ("python", "go"), partial(play.many, peer="python", server="go"))
    yield Case("envoy→envoy", "server-list-refuses", ("envoy",), play.server_list_refuses)
    yield Case("go→go", "unix-handshaker", ("go",), partial(play.unix_handshaker, peer="go"))
    yield Case("envoy→envoy", "unix-handshaker", ("envoy",), partial(play.unix_handshaker, peer="envoy"))
    yield Case("rust→rust", "unix-handshaker", ("rust",), partial(play.unix_handshaker, peer="rust"))
    yield Case("java→java", "unmodified", ("java", "exec"), play.java_unmodified)
    for peer in ("python", "go", "java"):
        run = partial(play.silent_resolver, peer=peer)
        yield Case(f"{peer}→{peer}", "silent-resolver", (peer, "exec", "root"), run)
    # The one that can only ask over TCP, and one that asks over a unix socket.
    for peer, by in (("python", "metadata"), ("go", "option")):
        for name, run in (("two-users", play.two_users), ("stranger", play.stranger)):
            yield Case(f"{peer}→{peer}", name, (peer, "exec", "root"), partial(run, peer=peer, by=by))
    yield Case("python→go", "two-users", ("python", "go", "exec", "root"), play.two_users_two_sockets)
    yield Case("go→go", "step-ca", ("go", "step"), play.step_ca)
    yield Case("python→python", "demo", ("python", "exec"), play.demo)
    yield Case("python→python", "readme", ("python", "exec"), play.readme)
    # The last one: it ends the daemons.
    yield Case("altsd", "survives", (), play.survives)
