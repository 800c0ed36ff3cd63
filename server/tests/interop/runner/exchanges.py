"""The cases in which programs get tokens as they would from Google's servers, or with what a handshake left them."""

import json
import os
import string

from .altsd import exec_prefix
from .attested import ALICE, BOB
from .build import HERE
from .doors import BILLING, ORDERS, RUNNER, SCOPES, SECRET, TYPE, ask, claims_of
from .play import demand
from .verifiers import GOOD, MISSING, WORKLOAD_ID, WRONG_AUDIENCE, answered, exchanged, verifier

SUBJECT = "orders@shop.example"
REFUSED = "invalid_request"
NOT_FOR_THIS = "invalid_target"


def from_presented(world, client):
    """A library exchanges another issuer's token for one of ours, and shows ours answers to what is refused."""
    door, good = world.doors().door(), presented(world, SUBJECT)
    asked = ["--scope", SCOPES[0], "--scope", "somebody.elses"]
    result = ran(world, client, ["--subject-token", good, *asked])
    ours(world, result, SUBJECT, scope=SCOPES[0])
    demand(claims_of(result["token"])["iss"] == door.issuer, "it is somebody else's")
    old = presented(world, SUBJECT, exp=1_000_000_000)
    refused(ran(world, client, ["--subject-token", old]), REFUSED)
    refused(ran(world, client, ["--subject-token", good], audience=SECRET), NOT_FOR_THIS)


def from_metadata(world, client):
    """A library that thinks it is on Google Cloud gets an ID token for the program's own account."""
    result = ran(world, client, [])
    ours(world, result, RUNNER)
    demand(not ran(world, client, [], audience=SECRET)["ok"], "it got a token that the rules have for nobody")


def go_sts(world):
    """grpc-go's call credentials get a token, and show it to a server that ALTS has authenticated."""
    running = world.server("go")
    result = world.call("go", running.address, "token", more=go_tokens(world, presented(world, SUBJECT)))
    demand(result["ok"], f"{result.get('code')} {result.get('error')}")
    kind, _, token = result["authorization"].partition(" ")
    demand(kind == "Bearer", f"the server is shown a token of the kind {kind}")
    answered(verifier(world, "ES256"), GOOD, token)
    demand(claims_of(token)["sub"] == SUBJECT, f"the token is about {claims_of(token)['sub']}")

    old = presented(world, SUBJECT, exp=1_000_000_000)
    result = world.call("go", running.address, "token", more=go_tokens(world, old))
    demand(not result["ok"] and REFUSED in result["error"], f"an old token is answered so: {result}")


def core_sts(world):
    """gRPC core's call credentials, which Envoy uses for calls of its own."""
    door, listen = world.doors().door(), f"unix:{world.directory}/authorizer.sock"
    words = ["--listen", listen, "--keys", door.key_set, "--issuer", door.issuer, "--audience", ORDERS]
    authorizer = world.start("authorizer", world.peers["tokens"].command("authorize.py", words))
    authorizer.ready_address()
    template = string.Template((HERE / "envoy" / "sts.yaml").read_text())
    for subject, expected, more in (("good", 200, {}), ("old", 403, {"exp": 1_000_000_000})):
        configuration = template.substitute(
            authorizer=listen, exchange=f"{door.issuer}/token", audience=ORDERS, scope=" ".join(SCOPES),
            subject_token=presented(world, SUBJECT, **more))
        status, _, body = ask(world.envoy(f"sts-{subject}", lambda: configuration), "/")
        demand(status == expected, f"with a token that is {subject} Envoy answers {status}: {body}")
    lines = [json.loads(line) for line in authorizer.out.read_text().splitlines()[1:]]
    demand(len(lines) == 1, f"the server was asked {len(lines)} times: {lines}")
    demand(lines[0]["kind"] == "Bearer" and "claims" in lines[0], f"the server was shown {lines[0]}")
    claims = lines[0]["claims"]
    demand((claims["sub"], claims["scope"]) == (SUBJECT, " ".join(SCOPES)), f"the token says {claims}")


def envoy_metadata(world):
    """Envoy gets tokens for its requests as on Google Cloud; another Envoy takes them."""
    door = world.doors().door()
    host, port = door.address.rsplit(":", 1)
    upstream_host, upstream_port = verifier(world, "ES256").rsplit(":", 1)
    template = string.Template((HERE / "envoy" / "metadata.yaml").read_text())
    for audience, expected in ((ORDERS, GOOD), (BILLING, WRONG_AUDIENCE), (SECRET, MISSING)):
        configuration = template.substitute(host=host, port=port, audience=audience, upstream_host=upstream_host,
                                            upstream_port=upstream_port)
        answered(world.envoy(f"metadata-{audience.partition('//')[2]}", lambda: configuration), expected)


def handshake(world):
    """The server of a call gets a token about its caller, in which it is the one who acts; nobody else gets it."""
    door = world.doors().door()
    words = ["--tokens", door.socket, "--audience", ORDERS]
    running, server = context_server(world, words)
    call = world.call("go", running, identity=BOB, handshaker=door.handshaker(BOB))
    demand(call["ok"], f"{call.get('code')} {call.get('error')}")
    got = lines_of(server)[-1]
    demand(got["handle"], "the server's context of the handshake has no handle")
    demand(got["status"] == 200, f"the exchange answers {got['status']}: {got['answer']}")
    token = got["answer"]["access_token"]
    claims = claims_of(token)
    demand(claims["sub"] == BOB.account, f"the token is about {claims['sub']}")
    demand(claims["act"]["sub"] == ALICE.account, f"who acts is {claims['act']}")
    answered(verifier(world, "ES256"), GOOD, token)

    for thief in (ALICE, BOB):
        command = door.handshaker(thief).words(
            world.peers["tokens"].command("context.py", [*words, "--handle", got["handle"]]))
        child = world.start("thief", command)
        child.wait(60)
        stolen = lines_of(child)[-1]
        demand(stolen["status"] == 400, f"{thief.name} with the handle is answered {stolen['status']}")
        demand(stolen["answer"]["error"] == REFUSED, f"{thief.name} is told {stolen['answer']}")
    # It was the thief that was wrong, not the handle.
    door.exchange(subject_token=got["handle"], subject_token_type="urn:altsd:token-type:alts-context")


def context_server(world, words):
    """A program of ALICE's that serves with ALTS; its address and the program."""
    handshaker = world.doors().door().handshaker(ALICE)
    command = handshaker.words(world.peers["tokens"].command("context.py", words))
    server = world.start("context", exec_prefix(world.binary, handshaker.address) + command)
    return server.ready_address(), server


def svid(world):
    """A token for a workload with a SPIFFE ID is what SPIFFE calls a JWT-SVID; an ordinary access token is not."""
    schema = os.path.join(os.environ["ALTSD_VECTORS"], "spiffe", "JWT-SVID.schema")

    def judged(token):
        file = world.file("token")
        file.write_text(token)
        return world.peers["tokens"].output(world, "schema.py", [schema, file]).strip()

    token = exchanged(world, WORKLOAD_ID, requested_token_type=f"{TYPE}jwt")
    demand(claims_of(token)["sub"] == WORKLOAD_ID, f"the token is about {claims_of(token)['sub']}")
    demand(judged(token) == "valid", f"it is no JWT-SVID: {judged(token)}")
    answered(verifier(world, "ES256"), GOOD, token)
    other = judged(exchanged(world, WORKLOAD_ID))
    demand("$.header.typ" in other, f"the schema does not tell them apart: {other}")


def presented(world, subject, **claims):
    """A file with a token of the other issuer, with the line end that files have."""
    file = world.file("subject-token")
    file.write_text(world.doors().presented(subject, **claims) + "\n")
    return file


def go_tokens(world, file):
    issuer = world.doors().door().issuer
    return ("--token-exchange", f"{issuer}/token", "--subject-token", file, "--audience", ORDERS)


def ran(world, client, words, audience=ORDERS):
    """What a client of the exchange says. It runs on Google Cloud, as far as it can see."""
    door = world.doors().door()
    environment = {"GCE_METADATA_HOST": door.address, "GCE_METADATA_IP": door.address,
                   "GOOGLE_APPLICATION_CREDENTIALS": ""}
    words = [client, "--issuer", door.issuer, "--audience", audience, *words]
    return json.loads(world.peers["tokens"].output(world, "clients.py", words, environment))


def ours(world, result, subject, **claims):
    demand(result["ok"], result.get("error"))
    expected = {"sub": subject, "aud": ORDERS, **claims}
    found = {name: result["claims"].get(name) for name in expected}
    demand(found == expected, f"the token says {found} instead of {expected}")
    answered(verifier(world, "ES256"), GOOD, result["token"])


def refused(result, code):
    demand(not result["ok"] and code in result["error"], f"{result} instead of {code}")


def lines_of(child):
    return [json.loads(line) for line in child.out.read_text().splitlines()]
