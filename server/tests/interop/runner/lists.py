"""The cases of peer lists: every client and server here asks a daemon whose default is to refuse."""

import re

from .altsd import text_after
from .listed import CALLERS, CONFINED, DOCUMENT, FRIEND, LOCALS, RULES, SERVER, SILENT, TRIED, UNLISTED
from .play import accepted, demand, refused

DENIED, NOT_TARGET, REVOKED = "peer_denied", "peer_not_target", "peer_revoked"
# grpc-java calls UNKNOWN what its own handshaker refuses.
CODES = ("UNAVAILABLE", "UNKNOWN")
# Envoy's own list, without which it does not tell its application who calls. It has all, and refuses nobody.
ENVOY_ADMITS = tuple(local.account for local in LOCALS)
# grpc-go logs the connections that it refuses only if it is told to.
LOGS = {"GRPC_GO_LOG_SEVERITY_LEVEL": "info"}


def allowed(world, peer):
    """A rule for each side lets them, and the trail names both."""
    listed = world.listed()
    mark = listed.mark()
    running = serve(world, peer)
    accepted(call(world, peer, running, FRIEND), running)
    recorded(listed, mark, side="client", local=FRIEND.account, verdict="allowed", rule="friend-calls")
    recorded(listed, mark, side="server", peer=FRIEND.account, verdict="allowed", rule="server-callers")


def client_refuses(world, peer):
    """The rule for the caller's side refuses: the reason reaches the caller."""
    listed = world.listed()
    mark = listed.mark()
    result = call(world, peer, serve(world, peer), CONFINED)
    told(result, f"confined-calls denies {CONFINED.account} to call {SERVER.account}")
    recorded(listed, mark, side="client", peer=SERVER.account, verdict="refused", reason=DENIED,
             rule="confined-calls")


def client_default_refuses(world, peer):
    listed = world.listed()
    mark = listed.mark()
    result = call(world, peer, serve(world, peer), SILENT)
    told(result, f"no rule lets {SILENT.account} call {SERVER.account}, and the default of this node is deny")
    recorded(listed, mark, side="client", local=SILENT.account, verdict="refused", reason=DENIED)


def server_refuses(world, peer):
    """The rule for the server's side refuses: the caller sees a closed connection, the trail says why."""
    listed = world.listed()
    mark, counted = listed.mark(), not_listed(listed)
    running = serve(world, peer)
    result = call(world, peer, running, UNLISTED)
    refused(result)
    demand(DENIED not in result["error"], f"the caller is told what is not its own: {result['error']}")
    recorded(listed, mark, side="client", local=UNLISTED.account, verdict="allowed")
    why = recorded(listed, mark, side="server", peer=UNLISTED.account, verdict="refused", reason=DENIED,
                   rule="server-callers")
    text = f"server-callers says who may call {SERVER.account}, and {UNLISTED.account} is not among them"
    demand(text in why["text"], f"the trail says: {why['text']}")
    # A client may have tried more than once.
    demand(not_listed(listed) > counted, "it is not counted")
    if peer != "java":  # which has it in a log that is off
        said = text_after(running.children[-1].log, 0, re.escape(text))
        demand(text in said, "the server's program does not log why")


def envoy_status(world, peer):
    """What somebody sees who speaks HTTP with an Envoy: 200 where both rules allow, 503 where one refuses."""
    running = serve(world, peer)
    for local, expected in ((FRIEND, 200), (CONFINED, 503), (UNLISTED, 503)):
        handshaker = world.listed().handshaker(local, "option")
        status, body = world.peers[peer].get(world, running.address, handshaker)
        demand(status == expected, f"{local.name} is answered {status}: {body}")
        demand((body == "answered") == (expected == 200), f"{local.name} is answered {body}")


def target_name(world, peer):
    """One server by two names: behind one it may stand, behind the other somebody else should."""
    listed, running = world.listed(), serve(world, peer)
    right, port = running.address, running.address.rsplit(":", 1)[1]
    wrong = f"localhost:{port}"
    listed.says(DOCUMENT + target(right, SERVER) + target(wrong, FRIEND))
    accepted(call(world, peer, running, FRIEND), running)
    mark = listed.mark()
    result = call(world, peer, running, FRIEND, name=wrong)
    refused(result, NOT_TARGET, codes=CODES)
    demand(f"{SERVER.account} is none of the accounts that may be called as {wrong}" in result["error"],
           f"the text is missing: {result['error']}")
    recorded(listed, mark, side="client", peer=SERVER.account, verdict="refused", reason=NOT_TARGET)


def shadow(world, peer):
    """A rule in shadow refuses nobody; that it would have is counted and in the trail."""
    listed, running = world.listed(), serve(world, peer)
    mark, counted = listed.mark(), differences(listed)
    accepted(call(world, peer, running, TRIED), running)
    recorded(listed, mark, side="server", peer=TRIED.account, verdict="allowed", rule="server-callers",
             shadow_rule="soon-refused", shadow_verdict="refused")
    demand(differences(listed) == counted + 1, f"{differences(listed) - counted} are counted")
    accepted(call(world, peer, running, FRIEND), running)
    demand(differences(listed) == counted + 1, "who is not meant by the rule is counted")


def file_changed(world, peer):
    """A list is edited while all runs: the next handshake of the same programs goes by it."""
    listed = world.listed()
    dialog = talk(world, peer, FRIEND)
    try:
        both(dialog.again())
        listed.says(CALLERS.replace(FRIEND.account, UNLISTED.account) + RULES)
        refused_by_server(listed, dialog, "server-callers")
        listed.says(DOCUMENT)
        both(dialog.again())
    finally:
        dialog.close()


def commands_change(world, peer):
    """The operator's commands, while all runs: each counts from the next handshake on, as `check` says."""
    listed = world.listed()
    dialog = talk(world, peer, FRIEND)
    try:
        both(dialog.again())
        # The store's list stands in for the file's of the same name.
        listed.operator("policy", "create-list", "callers", UNLISTED.account)
        refused_by_server(listed, dialog, "server-callers")
        listed.operator("policy", "peers", "add", "callers", FRIEND.account)
        admitted(listed, dialog)
        listed.operator("policy", "peers", "remove", "callers", FRIEND.account)
        refused_by_server(listed, dialog, "server-callers")
        listed.operator("policy", "delete", "list", "callers")
        admitted(listed, dialog)
        listed.operator("policy", "create-rule", "no-server", "--local", FRIEND.account, "--side", "client",
                        "--deny", "--peer", SERVER.account)
        told(dialog.again(), f"no-server denies {FRIEND.account} to call {SERVER.account}")
        listed.operator("policy", "set-mode", "no-server", "shadow")
        admitted(listed, dialog)
    finally:
        dialog.close()
        listed.clear()


def target_commands(world, peer):
    """As `target_name`, by a command."""
    listed, running = world.listed(), serve(world, peer)
    dialog = talk(world, peer, FRIEND)
    try:
        listed.operator("policy", "create-target", running.address, TRIED.account)
        result = dialog.again()
        refused(result, f"{NOT_TARGET}: ", codes=CODES)
        listed.operator("policy", "delete", "target", running.address)
        listed.operator("policy", "create-target", running.address, TRIED.account, SERVER.account)
        both(dialog.again())
    finally:
        dialog.close()
        listed.clear()


def target_unnamed(world, peer):
    """Envoy does not say whom it calls, so that no entry protects it: only rules and its own list do."""
    listed, running = world.listed(), serve(world, peer)
    try:
        listed.operator("policy", "create-target", running.address, TRIED.account)
        accepted(call(world, peer, running, FRIEND), running)
    finally:
        listed.clear()


def revoked_account(world, peer):
    """The client's own handshaker knows it too, and says so."""
    revoked(world, peer, [(FRIEND, "client", ("account", FRIEND.account), f"{FRIEND.account} (this end)")])


def revoked_certificate(world, peer):
    """By issuer and serial: that of the client, whom the server's side refuses, then that of the server."""
    steps = []
    for whose, side in ((FRIEND, "server"), (SERVER, "client")):
        shown = world.listed().certificate(whose)
        issuer, serial = shown["issuer"], shown["serial_number"]
        text = f"certificate {serial} of issuer {issuer}, in the chain of {whose.account},"
        steps.append((whose, side, ("certificate", "--issuer", issuer, "--serial", serial), text))
    revoked(world, peer, steps)


def revoked_key(world, peer):
    steps = []
    for whose, side in ((FRIEND, "server"), (SERVER, "client")):
        key = world.listed().certificate(whose)["sha256_key_fingerprint"]
        text = f"the key with SHA-256 {key}, in the chain of {whose.account},"
        steps.append((whose, side, ("key", key), text))
    revoked(world, peer, steps)


def revoked(world, peer, steps):
    """New connections are refused, open ones and those of others go on, and it can be taken back.

    A step: whose it is, which side refuses, the words of the command, and how the refusal begins.
    """
    listed, friend = world.listed(), talk(world, peer, FRIEND)
    other = None
    try:
        other = talk(world, peer, TRIED)
        both(friend.again())
        for whose, side, words, text in steps:
            reason = f"lost, says the {side}"
            mark = listed.mark()
            listed.operator("revoke", *words, "--reason", reason)
            text = f"{text} is revoked: {reason}"
            # Only what the client's own handshaker refuses can be on its screen.
            refused(friend.again(), text if side == "client" else None, codes=CODES)
            why = recorded(listed, mark, side=side, verdict="refused", reason=REVOKED)
            demand(text in why["text"], f"the trail says: {why['text']}")
            if whose is SERVER:
                refused(other.again(), text, codes=CODES)
            else:
                both(other.again())
            listed.clear()
            both(friend.again())
    finally:
        friend.close()
        if other:
            other.close()
        listed.clear()


def serve(world, peer):
    listed = world.listed()
    listed.says()
    handshaker = listed.handshaker(SERVER, world.peers[peer].how)
    return world.server(peer, identity=SERVER, handshaker=handshaker, peers=ENVOY_ADMITS, environment=LOGS)


def call(world, peer, running, local, name=None):
    handshaker = world.listed().handshaker(local, world.peers[peer].how)
    return world.call(peer, name or running.address, identity=local, handshaker=handshaker)


def talk(world, peer, local):
    """A client with one connection that is up."""
    running = serve(world, peer)
    handshaker = world.listed().handshaker(local, world.peers[peer].how)
    dialog = world.talk(peer, running.address, local, handshaker)
    try:
        accepted(dialog.first(), running)
    except Exception:
        dialog.close()
        raise
    return dialog


def both(result):
    demand(result["ok"], f"{result.get('code')} {result.get('error')}")
    demand(result["connections"] == 2, f"{result['connections']} connections, not the open one and a new one")


def admitted(listed, dialog):
    demand(listed.admits(SERVER, FRIEND, "server"), "`altsd policy check` says refused")
    both(dialog.again())


def refused_by_server(listed, dialog, rule):
    demand(not listed.admits(SERVER, FRIEND, "server"), "`altsd policy check` says allowed")
    mark = listed.mark()
    refused(dialog.again())
    recorded(listed, mark, side="server", peer=FRIEND.account, verdict="refused", reason=DENIED, rule=rule)


def told(result, text):
    """The client says on its screen that it is denied, and by which rule; Envoy in its log."""
    refused(result, f"{DENIED}: the peer is denied: {text}", codes=CODES)
    if result["client"] != "envoy":
        demand(text in result["error"], f"the rule is missing: {result['error']}")


def recorded(listed, mark, **fields):
    found = listed.records(mark, **fields)
    demand(found, f"the audit trail has no record with {fields}")
    return found[0]


def differences(listed):
    return listed.metric("altsd_shadow_differences_total", side="server", would="refuse")


def not_listed(listed):
    return listed.metric("altsd_peer_decisions_total", side="server", result="refused", reason="denied_not_listed")


def target(name, local):
    return f'\n[[target_name]]\nname = "{name}"\naccounts = ["{local.account}"]\n'
