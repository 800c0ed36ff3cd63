"""The cases that only alts-client makes possible: it can be told how to cut frames, and counts them."""

import json
import re

from .altsd import text_after
from .pki import IDENTITIES
from .peers import CLIENT_SECONDS
from .play import accepted, demand
from .process import finish

FRAMES_TO_A_KEY = 1 << 16
# Frames that change the key of what Rust sends within 100 MB.
SMALL_FRAMES = ("--max-sent-payload", "1400")
MEGABYTES = 100
# Go sends frames of 4 KiB, so much changes its key too.
MEGABYTES_OF_GO = 280
# The others send frames as large as they may, which is 16 KiB at least. Java does not always fill them.
LARGE_FRAMES = ("--max-frame-size", "16384")
MEGABYTES_GIVEN = {"python": 1_100, "java": 880}
# So much is worth more of a compiler than other cases are.
FOR_LONG = {"java": ("-XX:TieredStopAtLevel=4",)}
ONE_BYTE = ("--max-sent-payload", "1")
ONE_BYTE_MESSAGE = 80_000
# How a connection ends that nobody has cut: the other end has said so, or this one has.
CLEAN = ("closed by the peer", "closed here")
LOGS = {"GRPC_GO_LOG_SEVERITY_LEVEL": "info"}
# What would be said of a connection that ends in the middle of something.
COMPLAINT = re.compile(
    r"truncat|decrypt|corrupt|unexpected EOF|unprotect(?!ing buffer|ed buffer left: \d+ result: TSI_OK)|frame too"
    r"|Tag mismatch|panic", re.IGNORECASE)


def bulk(world, client, server):
    """Much data there and back on one connection, past a change of key."""
    megabytes = MEGABYTES_OF_GO if "go" in (client, server) else MEGABYTES
    running = world.server(server, more=SMALL_FRAMES if server == "rust" else ())
    mark = len(running.log())
    words = ("--messages", str(megabytes), *(SMALL_FRAMES if client == "rust" else ()))
    result = world.call(client, running.address, "bulk", more=words, service_accounts=known(client, running))
    accepted(result, running)
    demand(result["connections"] == 1, f"{result['connections']} connections")
    moved(result, megabytes)
    for end in ends(client, result, server, running, mark):
        demand(end["sent"] > FRAMES_TO_A_KEY, f"only {end['sent']} frames sent")
        # With Rust at both ends, and with Go, that goes for either direction.
        if {client, server} & {"go"} or client == server:
            demand(end["received"] > FRAMES_TO_A_KEY, f"only {end['received']} frames received")


def rekey(world, client, server):
    """The server sends so much that its key changes, whatever its frames are."""
    running = world.server(server, more=FOR_LONG.get(server, ()))
    words = ("--messages", str(MEGABYTES_GIVEN[server]), *LARGE_FRAMES)
    result = world.call(client, running.address, "rekey", more=words)
    accepted(result, running)
    moved(result, MEGABYTES_GIVEN[server])
    received = last_end(result["log"])["received"]
    demand(received > FRAMES_TO_A_KEY, f"only {received} frames received")


def moved(result, megabytes):
    demand(result["bytes"] == megabytes * 1_000_000, f"{result['bytes']} bytes")
    demand(len(result["sha256"]) == 64, "no hash is told")


def one_byte(world, client, server):
    """Rust makes a frame of each byte, past a change of key."""
    running = world.server(server, more=ONE_BYTE if server == "rust" else ())
    knobs = ONE_BYTE if client == "rust" else ()
    accepted(world.call(client, running.address, more=knobs, service_accounts=known(client, running)), running)
    mark = len(running.log())
    result = world.call(client, running.address, "stream", more=(*knobs, "--sizes", f"1,{ONE_BYTE_MESSAGE}"),
                        service_accounts=known(client, running))
    accepted(result, running)
    for end in ends(client, result, server, running, mark):
        demand(end["sent"] > ONE_BYTE_MESSAGE, f"only {end['sent']} frames sent")


def client_closes_first(world, client, server):
    running = world.server(server, environment=LOGS)
    mark = len(running.log())
    result = world.call(client, running.address, "stream", service_accounts=known(client, running))
    accepted(result, running)
    for end in ends(client, result, server, running, mark):
        demand(end["end"] in CLEAN, f"the connection ended: {end['end']}")
    quiet(running.log()[mark:])


def server_closes_first(world, client, server):
    """The server goes and comes back: its client sees a connection that was closed, and makes another one."""
    running = world.own_server(server, environment=LOGS)
    try:
        dialog = world.talk(client, running.address, case="reconnect", service_accounts=known(client, running))
        try:
            first = dialog.first()
            accepted(first, running)
            running.stop()
            quiet(running.log())
            came_back = world.own_server(server, listen=running.address, environment=LOGS)
            try:
                second = dialog.again()
                accepted(second, came_back)
            finally:
                came_back.stop()
        finally:
            dialog.close()
    finally:
        running.stop()
    demand(first["connection"] != second["connection"], "the connection is the old one")
    for end in ends(client, second, server, running, 0):
        demand(end["end"] in CLEAN, f"the connection ended: {end['end']}")
    quiet(second["log"])


def known(client, running):
    """An Envoy says whom it has reached only by accepting nobody else."""
    return (running.account,) if client == "envoy" else ()


def ends(client, result, server, running, mark):
    """What the Rust ends of a connection say about it when it is over."""
    found = []
    if client == "rust":
        found.append(last_end(result["log"]))
    if server == "rust":
        found.append(last_end(text_after(running.children[-1].log, mark, r'"end".*\n')))
    return found


def last_end(log):
    lines = [line for line in log.splitlines() if line.startswith('{"connection"')]
    demand(lines, "nothing is said about the end of the connection")
    return json.loads(lines[-1])


def quiet(log):
    found = COMPLAINT.search(log)
    demand(not found, f"a complaint: {found and log[max(0, found.start() - 200):found.end() + 200]}")


def greeter(world, client, server):
    """The examples greeter_client and greeter_server of alts-client, and the greeters of others."""
    if server == "rust":
        address, greeting = greeter_server(world), f"Hello world, you are {IDENTITIES[f'{client}-client'].account}"
    else:
        address, greeting = world.server(server).address, "Hello world"
    if client == "rust":
        said = greeter_client(world, address, IDENTITIES[f"{server}-server"])
    else:
        result = world.call(client, address, "greeter")
        demand(result["ok"], f"{result.get('code')} {result.get('error')}")
        said = result["greeting"]
    demand(said == greeting, f"the client was told {said!r}")


def greeter_server(world):
    handshaker = world.handshaker(IDENTITIES["rust-server"], "option")
    child = world.start("greeter-server", [
        world.peers["rust"].examples / "greeter_server", "--handshaker", handshaker.address, "--listen", "127.0.0.1:0"])
    child.wait_until(lambda: child.out.read_text().endswith("\n"), "listening")
    return child.out.read_text().split()[-1]


def greeter_client(world, address, server):
    handshaker = world.handshaker(IDENTITIES["rust-client"], "option")
    code, child = finish("greeter-client", [
        world.peers["rust"].examples / "greeter_client", "--handshaker", handshaker.address, "--target", address,
        "--target-service-account", server.account], world.directory, CLIENT_SECONDS)
    demand(code == 0, f"the client ended with {code}{child.tail()}")
    known, said = child.out.read_text().splitlines()
    demand(known == f"server: {server.account}", f"the client saw the server as {known!r}")
    return said
