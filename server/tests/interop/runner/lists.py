"""The cases of peer lists: every client and server here asks a daemon whose default is to refuse."""

from .listed import CALLERS, CONFINED, DOCUMENT, FRIEND, RULES, SERVER, SILENT, TRIED, UNLISTED
from .play import accepted, demand, refused

DENIED, NOT_TARGET = "peer_denied", "peer_not_target"


def allowed(world, peer):
    """A rule for each side lets them, and the trail names both."""
    mark = world.listed().mark()
    running = serve(world, peer)
    accepted(call(world, peer, running, FRIEND), running)
    recorded(world, mark, side="client", local=FRIEND.account, verdict="allowed", rule="friend-calls")
    recorded(world, mark, side="server", peer=FRIEND.account, verdict="allowed", rule="server-callers")


def client_refuses(world, peer):
    """The rule for the caller's side refuses: the reason reaches the caller."""
    mark = world.listed().mark()
    result = call(world, peer, serve(world, peer), CONFINED)
    told(result, f"confined-calls denies {CONFINED.account} to call {SERVER.account}")
    recorded(world, mark, side="client", peer=SERVER.account, verdict="refused", reason=DENIED,
             rule="confined-calls")


def client_default_refuses(world, peer):
    mark = world.listed().mark()
    result = call(world, peer, serve(world, peer), SILENT)
    told(result, f"no rule lets {SILENT.account} call {SERVER.account}, and the default of this node is deny")
    recorded(world, mark, side="client", local=SILENT.account, verdict="refused", reason=DENIED)


def server_refuses(world, peer):
    """The rule for the server's side refuses: the caller sees a closed connection, the trail says why."""
    mark = world.listed().mark()
    running = serve(world, peer)
    result = call(world, peer, running, UNLISTED)
    refused(result)
    demand(DENIED not in result["error"], f"the caller is told what is not its own: {result['error']}")
    recorded(world, mark, side="client", local=UNLISTED.account, verdict="allowed")
    why = recorded(world, mark, side="server", peer=UNLISTED.account, verdict="refused", reason=DENIED,
                   rule="server-callers")
    text = f"server-callers says who may call {SERVER.account}, and {UNLISTED.account} is not among them"
    demand(text in why["text"], f"the trail says: {why['text']}")


def envoy_status(world):
    """What somebody sees who speaks HTTP with an Envoy: 200 where both rules allow, 503 where one refuses."""
    running = serve(world, "envoy")
    for local, expected in ((FRIEND, 200), (CONFINED, 503), (UNLISTED, 503)):
        handshaker = world.listed().handshaker(local, "option")
        status, body = world.peers["envoy"].get(world, running.address, handshaker)
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
    recorded(world, mark, side="client", peer=SERVER.account, verdict="refused", reason=NOT_TARGET)


def shadow(world, peer):
    """A rule in shadow refuses nobody; that it would have is counted and in the trail."""
    listed, running = world.listed(), serve(world, peer)
    mark, counted = listed.mark(), differences(listed)
    accepted(call(world, peer, running, TRIED), running)
    recorded(world, mark, side="server", peer=TRIED.account, verdict="allowed", rule="server-callers",
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
        refused(dialog.again())
        listed.says(DOCUMENT)
        both(dialog.again())
    finally:
        dialog.close()


# grpc-java calls UNKNOWN what its own handshaker refuses; grpc-go hands on the code of the handshaker.
CODES = ("UNAVAILABLE", "UNKNOWN")


def serve(world, peer):
    listed = world.listed()
    listed.says()
    handshaker = listed.handshaker(SERVER, world.peers[peer].how)
    return world.server(peer, identity=SERVER, handshaker=handshaker, peers=ENVOY_ADMITS)


# Envoy's own list, without which it does not tell its application who calls: all but altsd's lists would refuse nobody.
ENVOY_ADMITS = tuple(one.account for one in (FRIEND, UNLISTED, CONFINED, SILENT, TRIED))


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


def told(result, text):
    """The client says on its screen that it is denied, and by which rule; Envoy in its log."""
    refused(result, f"{DENIED}: the peer is denied: {text}", codes=CODES)
    if result["client"] != "envoy":
        demand(text in result["error"], f"the rule is missing: {result['error']}")


def recorded(world, mark, **fields):
    found = world.listed().records(mark, **fields)
    demand(found, f"the audit trail has no record with {fields}")
    return found[0]


def differences(listed):
    return listed.metric("altsd_shadow_differences_total", side="server", would="refuse")


def target(name, local):
    return f'\n[[target_name]]\nname = "{name}"\naccounts = ["{local.account}"]\n'
