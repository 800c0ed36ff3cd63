"""What each case does and what it demands; a broken demand raises Failure."""

import re

from .attested import ALICE, BOB, STRANGER
from .build import HERE, REPOSITORY
from .drip import DRIPPED_BYTES, DripProxy
from .pki import IDENTITIES, INTRUDER
from .peers import Handshaker
from .process import finish
from .resolver import SilentResolver
from .stepped import CLIENT, SERVER
from .world import CLIENTS

# What a client says that has waited for a time limit instead of taking an answer.
HANG = re.compile(r"deadline|timed? ?out|Handshaker shutdown", re.IGNORECASE)
# The reasons are altsd's own codes: only its handshaker can have put them there.
NOT_EXPECTED = "peer_not_expected"
UNTRUSTED = "peer_certificate_untrusted"
NOT_A_HANDSHAKE = "frame_length_invalid"
UNKNOWN_WORKLOAD = "workload_unknown"
ENVOY_LIST = "Couldn't find peer's service account in peer_service_accounts"

# What else a refusal may be called: by grpc-java, when its own handshaker refuses; by tonic, when a connection ends that it
# has just begun to use, as the server's end does whose handshaker refuses.
MORE_CODES = {"java": ("UNKNOWN",), "rust": ("UNKNOWN", "CANCELLED")}

README = REPOSITORY / "README.md"


class Failure(Exception):
    pass


def pair(world, client, server, shape):
    running = world.server(server)
    accounts = (running.account,) if client == "envoy" else ()
    accepted(world.call(client, running.address, shape, service_accounts=accounts), running)


def many(world, peer, server=None):
    running = world.server(server or peer)
    result = world.call(peer, running.address, "many")
    accepted(result, running)
    demand(result["connections"] == 100, f"{result['connections']} connections")


def byte_by_byte(world, peer):
    running = world.server(peer)
    proxy = DripProxy(running.address)
    try:
        accepted(world.call(peer, proxy.address, "stream"), running)
    finally:
        proxy.close()
    for way, count in proxy.dripped.items():
        demand(count == DRIPPED_BYTES, f"only {count} bytes dripped {way}")


def right_account(world, peer):
    running = world.server(peer)
    accounts = ("somebody@else.example.com", running.account)
    accepted(world.call(peer, running.address, service_accounts=accounts), running)


def wrong_account(world, peer):
    running = world.server(peer)
    mark = len(world.handshakers.main.log())
    result = world.call(peer, running.address, service_accounts=("somebody@else.example.com",))
    if peer == "envoy":
        # Envoy tells the handshaker nothing about its list and compares by itself.
        refused(result, ENVOY_LIST)
    else:
        refused(result, NOT_EXPECTED)
        logged(world.handshakers.main, mark, NOT_EXPECTED)


def server_list_refuses(world):
    running = world.server("envoy", peers=CLIENTS[:1])
    refused(world.call("envoy", running.address))
    log = running.children[-1].log.read_text()
    demand(ENVOY_LIST in log, "the server's Envoy does not say why it refused")


def foreign_client(world, peer):
    # An Envoy that accepts anybody: the refusal has to be the handshaker's.
    running = world.server(peer, peers=())
    mark = len(world.handshakers.main.log())
    refused(world.call(peer, running.address, identity=INTRUDER))
    logged(world.handshakers.main, mark, UNTRUSTED)


def foreign_server(world, peer):
    running = world.server(peer, identity=INTRUDER)
    mark = len(world.handshakers.main.log())
    refused(world.call(peer, running.address), UNTRUSTED)
    logged(world.handshakers.main, mark, UNTRUSTED)


def no_handshaker_client(world, peer):
    running = world.server(peer)
    refused(world.call(peer, running.address, handshaker=nobody(world, peer)))


def no_handshaker_server(world, peer):
    running = world.server(peer, handshaker=nobody(world, peer))
    refused(world.call(peer, running.address))


def nobody(world, peer):
    return Handshaker(world.handshakers.dead_address, world.peers[peer].how)


def plaintext_client(world, peer):
    running = world.server(peer)
    mark = len(world.handshakers.main.log())
    refused(world.call_plaintext(running.address))
    logged(world.handshakers.main, mark, NOT_A_HANDSHAKE)


def unix_handshaker(world, peer):
    identity = IDENTITIES[f"{peer}-unix"]
    running = world.server(peer, identity=identity, by="option")
    accepted(world.call(peer, running.address, identity=identity, by="option"), running)


def java_unmodified(world):
    """None of grpc-java's switches for testing: `altsd exec` is all it needs."""
    running = world.server("java", by="metadata")
    accepted(world.call("java", running.address, "stream", by="metadata"), running)


def dead_proxy(world, peer):
    """A proxy for everything but the program's own calls; the handshaker's connection must not take it."""
    dead = f"http://{world.handshakers.dead_address}"
    names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    how = {
        "environment": {**dict.fromkeys(names, dead), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"},
        "by": "metadata",
    }
    if peer == "envoy":
        # It does not run under `altsd exec`, and asks a proxy for any address but a socket's.
        how |= {"by": "option", "identity": IDENTITIES["envoy-unix"]}
    running = world.server(peer, **how)
    accepted(world.call(peer, running.address, **how), running)


def silent_resolver(world, peer):
    """Names that the hosts file knows may still be asked for elsewhere, and no answer is a long stall."""
    running = world.server(peer)
    resolver = SilentResolver(world.handshakers.dead_address.rsplit(":", 1)[0], world.directory)
    try:
        result = world.call(peer, running.address, "many", by="metadata", prefix=resolver.prefix())
    finally:
        resolver.close()
    accepted(result, running)
    demand(not resolver.questions, f"{len(resolver.questions)} questions went to the name server")


def two_users(world, peer, by):
    """Programs of two users ask one daemon at one address, and each is who it is."""
    attested = world.attested()
    for serving, calling in ((ALICE, BOB), (BOB, ALICE)):
        running = world.server(peer, identity=serving, handshaker=attested.handshaker(serving, by))
        handshaker = attested.handshaker(calling, by)
        accounts = (serving.account,)
        accepted(world.call(peer, running.address, identity=calling, handshaker=handshaker,
                            service_accounts=accounts), running)


def two_users_two_sockets(world):
    """The same daemon over TCP and over a unix socket."""
    attested = world.attested()
    running = world.server("go", identity=ALICE, handshaker=attested.handshaker(ALICE, "option"))
    handshaker = attested.handshaker(BOB, "metadata")
    accepted(world.call("python", running.address, "stream", identity=BOB, handshaker=handshaker), running)


def stranger(world, peer, by):
    """A third user is nobody, as a client and as a server."""
    attested = world.attested()
    nobody = attested.handshaker(STRANGER, by)
    running = world.server(peer, identity=ALICE, handshaker=attested.handshaker(ALICE, by))
    mark = len(attested.daemon.log())
    result = world.call(peer, running.address, identity=STRANGER, handshaker=nobody)
    refused(result, UNKNOWN_WORKLOAD, codes=("UNAVAILABLE", "UNAUTHENTICATED"))
    logged(attested.daemon, mark, f"uid:{STRANGER.user}.*{UNKNOWN_WORKLOAD}")

    stranger_server = world.server(peer, identity=STRANGER, handshaker=nobody)
    mark = len(attested.daemon.log())
    refused(world.call(peer, stranger_server.address, identity=BOB, handshaker=attested.handshaker(BOB, by)))
    logged(attested.daemon, mark, f"uid:{STRANGER.user}.*{UNKNOWN_WORKLOAD}")


def step_ca(world):
    """Both ends have certificates that the intermediate of a CA made of step has signed."""
    stepped = world.stepped()
    running = world.server("go", identity=SERVER, handshaker=stepped.handshaker(SERVER))
    handshaker = stepped.handshaker(CLIENT)
    accepted(world.call("go", running.address, "stream", identity=CLIENT, handshaker=handshaker,
                        service_accounts=(SERVER.account,)), running)


def demo(world):
    """An ordinary program after gRPC's own documentation, against `altsd run --dev`."""
    in_dev_mode(world, "demo", HERE / "python/demo.py")


def readme(world):
    """What the project's README has a newcomer paste."""
    text = README.read_text()
    program = world.directory / "readme.py"
    program.write_text(text.partition("<<'EOF'\n")[2].partition("\nEOF\n")[0])
    in_dev_mode(world, "readme", program)


def in_dev_mode(world, name, program):
    daemon, address = world.start_dev_daemon()
    try:
        interpreter = world.peers["python"].interpreter
        command = [world.binary, "exec", "--handshaker", address, "--", interpreter, program]
        code, child = finish(name, command, world.directory, 60)
        said = child.out.read_text()
        demand(code == 0, f"the program ended with {code}: {said}{child.tail()}")
        demand("@dev.altsd.internal" in said, f"the program names no account of the dev mode: {said}")
    finally:
        daemon.stop()


def survives(world):
    for daemon in world.daemons():
        demand(daemon.running(), f"{daemon.name} ended by itself")
        demand("panicked" not in daemon.log(), f"{daemon.name} has panicked")
        code = daemon.stop()
        demand(code == 0, f"{daemon.name} answers SIGTERM with {code}")


def accepted(result, server):
    demand(result["ok"], f"{result.get('code')} {result.get('error')}")
    # Not every client is told whom it reached.
    seen = result.get("server") or server.account
    demand(seen == server.account, f"the client saw the server as {seen}")


def refused(result, reason=None, codes=None):
    """The call failed at once and, where the refusing side is the client's, says why."""
    demand(not result["ok"], "the call went through")
    text = result["error"]
    codes = codes or ("UNAVAILABLE", *MORE_CODES.get(result["client"], ()))
    demand(result["code"] in codes, f"{result['code']} {text}")
    demand(not HANG.search(text), f"a time limit ended the call: {text}")
    demand(reason is None or reason in text + result["log"], f"the reason is missing: {text}")


def logged(daemon, mark, reason):
    demand(re.search(reason, daemon.log_after(mark, reason)), f"{daemon.name} did not log {reason}")


def demand(fact, otherwise):
    if not fact:
        raise Failure(otherwise)
