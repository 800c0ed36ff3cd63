"""The cases in which an Envoy decides about our tokens: by its own settings, and by Istio's policies."""

import string

from .build import HERE
from .doors import BILLING, KINDS, LOCAL_PEER, ORDERS, OTHER_ISSUER, RUNNER, SCOPES, SKEW, Key, ask, fresh, header_of, until
from .pki import AUTHORITY
from .play import demand

GOOD = (200, "workload")
EXPIRED = (401, "Jwt is expired")
EARLY = (401, "Jwt not yet valid")
FORGED = (401, "Jwt verification fails")
UNKNOWN_KEY = (401, "Jwks doesn't have key to match kid or alg from Jwt")
UNKNOWN_ISSUER = (401, "Jwt issuer is not configured")
MISSING = (401, "Jwt is missing")
GARBAGE = (401, "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")
WRONG_AUDIENCE = (403, "Audiences in Jwt are not allowed")
DENIED = (403, "RBAC: access denied")
WORKLOAD_ID = f"spiffe://{AUTHORITY}/ns/shop/sa/orders"


def minted(world, kind):
    """What altsd has signed passes, and its keys say what they are for."""
    door = world.doors().door(kind)
    token = door.mint()
    found = header_of(token)
    demand(found["alg"] == KINDS[kind], f"the token is signed with {found['alg']}")
    demand(found["kid"] in [key["kid"] for key in door.keys()], f"{found['kid']} is not among the published keys")
    answered(verifier(world, kind), GOOD, token)


def expired(world):
    door = world.doors().door("RS256")
    envoy = verifier(world, "RS256")
    answered(envoy, GOOD, door.signed())
    end = fresh("", "", "")["iat"] - SKEW - 1
    answered(envoy, EXPIRED, door.signed(exp=end, iat=end - 60, nbf=end - 60))


def wrong_audience(world):
    for kind in ("ES256", "RS256"):
        answered(verifier(world, kind), WRONG_AUDIENCE, world.doors().door(kind).mint(audience=BILLING))


def unknown_key(world):
    """Of the same issuer by its own word, from a daemon with other keys."""
    door, other = (world.doors().door(kind) for kind in ("RS256", "ES256"))
    stranger = Key("stranger", world.directory)
    answered(verifier(world, "RS256"), UNKNOWN_KEY, stranger.sign(fresh(door.issuer, RUNNER, ORDERS)))
    answered(verifier(world, "RS256"), UNKNOWN_ISSUER, other.mint())


def forged(world):
    """The right issuer, and the name of the right key, which has not signed it."""
    envoy, door = verifier(world, "RS256"), world.doors().door("RS256")
    answered(envoy, FORGED, door.signed(key=Key("forger", world.directory)))
    token = door.mint()
    head, payload, signature = token.split(".")
    for other in ("A" * len(signature), signature[::-1]):
        answered(envoy, FORGED, f"{head}.{payload}.{other}")


def missing(world):
    envoy = verifier(world, "ES256")
    answered(envoy, MISSING)
    answered(envoy, GARBAGE, "garbage")


def commands(world):
    """What `altsd token` mints, Envoy takes; and `altsd token verify` judges as Envoy does."""
    door, envoy = world.doors().door("RS256"), verifier(world, "RS256")
    for socket in (f"unix:{door.socket}", door.issuer):
        answered(envoy, GOOD, door.mint_by_command(socket))
    now = fresh("", "", "")["iat"]
    head, payload, signature = door.mint().split(".")
    for what, expected, token in (
            ("minted", GOOD, f"{head}.{payload}.{signature}"), ("signed", GOOD, door.signed()),
            ("ended a moment ago", GOOD, door.signed(exp=now - SKEW // 2)),
            ("expired", EXPIRED, door.signed(exp=now - 2 * SKEW)),
            ("for later", EARLY, door.signed(nbf=now + 2 * SKEW)),
            ("for somebody else", WRONG_AUDIENCE, door.signed(audience=BILLING)),
            ("of somebody else", UNKNOWN_ISSUER, door.signed(iss=OTHER_ISSUER)),
            ("forged", FORGED, f"{head}.{payload}.{signature[::-1]}"), ("garbage", GARBAGE, "garbage")):
        answered(envoy, expected, token)
        demand(door.verifies(token) == (expected == GOOD), f"{what}: `altsd token verify` does not agree with Envoy")


def emergency(world):
    """The old key's tokens count as long as a verifier keeps the key set, and not a fetch longer."""
    door, envoy = world.doors().door("spare"), verifier(world, "spare")
    old = door.mint()
    answered(envoy, GOOD, old)
    answered(envoy, GOOD, old, path="/renewed")
    door.operator("keys", "rotate", "--emergency")
    new = door.mint()
    kids = [key["kid"] for key in door.keys()]
    demand(header_of(old)["kid"] not in kids, "the old key is still published")
    demand(header_of(new)["kid"] in kids, "what signs now is not published")

    # The set that is kept knows the old key and not the new one; nobody asks again for it.
    answered(envoy, GOOD, old)
    answered(envoy, UNKNOWN_KEY, new)
    until(lambda: reply(envoy, new, "/renewed") == GOOD, "the new key")
    # Each thread of Envoy fetches for itself, at its own time.
    until(lambda: reply(envoy, old, "/renewed") == UNKNOWN_KEY, "the end of the old key")


def verifier(world, kind):
    """An Envoy that takes what this daemon has signed, kept for the cases to come."""
    door = world.doors().door(kind)

    def configuration():
        host, port = door.address.rsplit(":", 1)
        template = string.Template((HERE / "envoy" / "verifier.yaml").read_text())
        return template.substitute(issuer=door.issuer, audience=ORDERS, host=host, port=port)

    return world.envoy(f"verifier-{kind}", configuration)


# Istio's policies.


def token_required(world):
    envoy, token = workload(world, "token-required"), world.doors().door().mint()
    answered(envoy, GOOD, token)
    bad_tokens(world, envoy)
    answered(envoy, DENIED)
    # The policy is for others: without a rule nobody looks.
    other = workload(world, "token-required", "--label", "app=other")
    answered(other, GOOD)
    answered(other, GOOD, "garbage")


def whole_mesh(world):
    envoy = workload(world, "whole-mesh", "--label", "app=other")
    answered(envoy, GOOD, world.doors().door().mint())
    answered(envoy, DENIED)
    bad_tokens(world, envoy)


def two_issuers(world):
    """Each of two daemons is good for one host; where their keys are, they say themselves."""
    envoy = workload(world, "two-issuers")
    foo, bar = (world.doors().door(kind).mint() for kind in ("ES256", "RS256"))
    for token, host, expected in (
            (foo, "example.com", GOOD), (foo, "another-host.com", DENIED),
            (bar, "another-host.com", GOOD), (bar, "example.com", DENIED), (bar, "example.org", DENIED),
            (None, "example.com", DENIED), (foo, "EXAMPLE.com", GOOD), (foo, "example.com:80", DENIED)):
        answered(envoy, expected, token, host=host)
    bad_tokens(world, envoy, host="example.com")


def health_path(world):
    envoy, token = workload(world, "health-path"), world.doors().door().mint()
    answered(envoy, GOOD, token)
    answered(envoy, DENIED)
    for path, expected in (("/healthz", GOOD), ("/healthz?full=1", GOOD), ("/x/../healthz", GOOD),
                           ("/healthz/", DENIED), ("/Healthz", DENIED), ("//healthz", DENIED)):
        answered(envoy, expected, path=path)
    answered(envoy, GOOD, token, path="/healthz")
    # Nobody has to show a token here, but whoever does shows a good one.
    bad_tokens(world, envoy, path="/healthz")


def claim_route(world):
    """The subject of the token decides which version answers."""
    envoy = workload(world, "claim-route", "--label", "app=istio-ingressgateway")
    answered(envoy, (200, "v2"), world.doors().door().mint())
    answered(envoy, (200, "v1"), exchanged(world, "somebody@shop.example"))
    answered(envoy, DENIED)
    bad_tokens(world, envoy)


def audiences(world):
    """Any of the audiences, with or without the scheme; it names the issuer alone, who says where the keys are."""
    envoy, door = workload(world, "audiences"), world.doors().door()
    answered(envoy, GOOD, door.mint())
    answered(envoy, WRONG_AUDIENCE, door.mint(audience=BILLING))
    answered(envoy, GOOD)


def other_header(world):
    """A token in another place than the rule's is no token."""
    envoy, token = workload(world, "other-header"), world.doors().door().mint()
    answered(envoy, GOOD, "garbage")
    for shown, expected in ((token, GOOD), ("garbage", GARBAGE), ("", GARBAGE)):
        answered(envoy, expected, headers={"x-goog-iap-jwt-assertion": shown})


def claims(world):
    """Scopes, actors and subjects decide; what a token does not say, it does not have."""
    envoy, door = workload(world, "claims"), world.doors().door()
    plain, scoped = door.mint(), door.mint(scope=" ".join(SCOPES))
    wrong = door.mint(scope=SCOPES[1])
    spiffe = exchanged(world, WORKLOAD_ID)
    acted = exchanged(world, WORKLOAD_ID, actor_token="me", actor_token_type=LOCAL_PEER)
    for token, path, expected in (
            (scoped, "/orders/7", GOOD), (wrong, "/orders/7", DENIED), (plain, "/orders/7", DENIED),
            (None, "/orders/7", DENIED), (scoped, "/orders", DENIED),
            (plain, "/account", GOOD), (spiffe, "/account", DENIED), (None, "/account", DENIED),
            (spiffe, "/workload", GOOD), (plain, "/workload", DENIED),
            (acted, "/acted", GOOD), (plain, "/acted", DENIED), (spiffe, "/acted", DENIED)):
        answered(envoy, expected, token, path=path)


def denied_first(world):
    envoy, token = workload(world, "denied-first"), world.doors().door().mint()
    answered(envoy, GOOD, token)
    answered(envoy, DENIED)
    bad_tokens(world, envoy)


POLICIES = {
    "token-required": token_required, "whole-mesh": whole_mesh, "two-issuers": two_issuers,
    "health-path": health_path, "claim-route": claim_route, "audiences": audiences,
    "other-header": other_header, "claims": claims, "denied-first": denied_first,
}


def bad_tokens(world, envoy, **request):
    """What is no good token of ours is refused, whatever the policy asks for."""
    door = world.doors().door()
    head, payload, signature = door.mint().split(".")
    answered(envoy, FORGED, f"{head}.{payload}.{signature[::-1]}", **request)
    answered(envoy, GARBAGE, "garbage", **request)
    stranger = world.doors().other
    answered(envoy, UNKNOWN_KEY, stranger.sign(fresh(door.issuer, RUNNER, ORDERS)), **request)
    answered(envoy, UNKNOWN_ISSUER, stranger.sign(fresh(OTHER_ISSUER, RUNNER, ORDERS)), **request)


def exchanged(world, subject, **parameters):
    """A token of ours for a subject of the other issuer."""
    door = world.doors().door()
    presented = world.doors().presented(subject)
    status, _, answer = door.exchange(
        subject_token=presented, subject_token_type="urn:ietf:params:oauth:token-type:jwt", audience=ORDERS,
        **parameters)
    demand(status == 200, f"the exchange answers {status}: {answer}")
    return answer["access_token"]


def workload(world, policy, *labels):
    """An Envoy beside a workload to which this policy applies, kept for the cases to come."""

    def configuration():
        foo, bar = (world.doors().door(kind).issuer for kind in ("ES256", "RS256"))
        template = string.Template((HERE / "token" / "policies" / f"{policy}.yaml").read_text())
        file = world.file(f"{policy}.yaml")
        file.write_text(template.substitute(foo=foo, bar=bar, audience=ORDERS, subject=RUNNER, actor=RUNNER,
                                            workload=WORKLOAD_ID))
        words = [file, "--namespace", "foo", *(labels or ("--label", "app=httpbin"))]
        return world.peers["tokens"].output(world, "istio.py", words)

    return world.envoy("-".join(("istio", policy, *labels)), configuration)


def answered(envoy, expected, token=None, **request):
    got = reply(envoy, token, **request)
    demand(got == expected, f"{request} with {token and token[:12]}: {got} instead of {expected}")


def reply(envoy, token=None, path="/", host=None, headers=None):
    """(status, body) of a request that carries this token."""
    headers = dict(headers or {})
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    if host:
        headers["host"] = host
    status, _, body = ask(envoy, path, headers=headers)
    return status, body
