"""Daemons that issue tokens, an issuer that they trust, and what the runner itself asks and signs."""

import base64
import http.client
import json
import os
import socket
import subprocess
import time
import uuid
from urllib.parse import urlencode

from .altsd import Daemon
from .attested import ALICE, BOB, STRANGER
from .peers import Handshaker
from .pki import AUTHORITY
from .process import ChildFailed

# For each a daemon with keys of this kind; `spare` has those of ES256, and a case that changes them.
KINDS = {"ES256": "ES256", "EdDSA": "EdDSA", "RS256": "RS256", "spare": "ES256"}
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
LOCAL_PEER = "urn:altsd:token-type:local-peer"
# For whom tokens may be asked, the default first, and which nobody gets.
ORDERS, BILLING, SECRET = "https://orders.example", "https://billing.example", "https://secret.example"
SCOPES = ("orders.read", "orders.write")
OTHER_ISSUER = "https://issuer.example"
# The account of the runner's own user.
RUNNER = f"runner@{AUTHORITY}"
ASK_SECONDS = 20
VERIFY_GOOD, VERIFY_BAD = 0, 1
LIFETIME = 600
# What a verifier adds to the end of a token.
SKEW = 60


class Key:
    """An RSA key; tokens signed with it."""

    def __init__(self, name, directory):
        self.file = directory / f"{name}.pem"
        self._openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.file)
        printed = self._openssl("rsa", "-in", self.file, "-noout", "-modulus").decode()
        modulus = bytes.fromhex(printed.strip().partition("=")[2])
        self.jwk = {"kty": "RSA", "alg": "RS256", "use": "sig", "n": encoded(modulus), "e": "AQAB", "kid": name}

    def sign(self, claims, kid=None):
        head = {"alg": "RS256", "typ": "JWT", "kid": kid or self.jwk["kid"]}
        text = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = self._openssl("dgst", "-sha256", "-sign", self.file, given=text.encode())
        return f"{text}.{encoded(signature)}"

    def _openssl(self, *words, given=None):
        return subprocess.run(["openssl", *words], input=given, check=True, capture_output=True, timeout=60).stdout


class Doors:
    """The daemons, each from the first case on that wants it."""

    def __init__(self, binary, addresses, directory):
        self._binary = binary
        self._directory = directory
        self._addresses = dict(zip([*KINDS, "handshaker"], addresses, strict=True))
        self._doors = {}
        self.other = Key("other-issuer", directory)

    def door(self, kind="ES256"):
        if kind not in self._doors:
            handshaker = self._addresses["handshaker"] if kind == "ES256" else None
            self._doors[kind] = Door(kind, self._binary, self._addresses[kind], handshaker, self.other, self._directory)
        return self._doors[kind]

    def daemons(self):
        return [door.daemon for door in self._doors.values()]

    def presented(self, subject, audience=None, **claims):
        """A token of the other issuer, for the daemon with ES256 unless it is said."""
        audience = audience or self.door().issuer
        return self.other.sign(fresh(OTHER_ISSUER, subject, audience) | claims)


class Door:
    """One daemon that issues tokens."""

    def __init__(self, kind, binary, address, handshaker, other, directory):
        self.issuer = f"http://{address}"
        self.address = address
        self.key_set = f"{self.issuer}/jwks"
        self.socket = f"{directory}/tokens-{kind}.sock"
        self._binary = binary
        self._handshaker = handshaker
        self._admin = f"unix:{directory}/tokens-{kind}-admin.sock"
        # RSA keys are imported. So the runner can sign with it what altsd never would.
        self.key = Key(f"tokens-{kind}", directory) if kind == "RS256" else None
        config = directory / f"tokens-{kind}.toml"
        config.write_text(self._configuration(kind, directory, other))
        waited_for = [address, f"unix:{self.socket}", *([handshaker] if handshaker else [])]
        self.daemon = Daemon(f"tokens-{kind}", binary, ["--config", config], waited_for, directory)

    def handshaker(self, workload):
        return Handshaker(self._handshaker, "metadata", workload.user)

    def mint(self, audience=ORDERS, **parameters):
        """A token for the runner's own account."""
        status, _, answer = self.exchange(subject_token="me", subject_token_type=LOCAL_PEER, audience=audience,
                                          **parameters)
        if status != 200:
            raise ChildFailed(f"the exchange answers {status}: {answer}")
        return answer["access_token"]

    def exchange(self, by=None, **parameters):
        """(status, headers, answer); over the unix socket, unless another address is given."""
        form = urlencode({"grant_type": GRANT, **parameters})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        status, headers, body = ask(by or f"unix:{self.socket}", "/token", "POST", form, headers)
        return status, headers, json.loads(body)

    def keys(self):
        status, _, body = ask(self.address, "/jwks")
        if status != 200:
            raise ChildFailed(f"the key set is answered with {status}: {body}")
        return json.loads(body)["keys"]

    def signed(self, key=None, audience=ORDERS, **claims):
        """A token with claims that altsd would not make, signed with its key or with another."""
        text = fresh(self.issuer, RUNNER, audience) | claims
        return (key or self.key).sign(text, kid=self.keys()[0]["kid"])

    def operator(self, *words):
        done = self._command(*words, "--admin", self._admin)
        if done.returncode != 0:
            raise ChildFailed(f"altsd {' '.join(words)} ends with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def mint_by_command(self, socket):
        """What `altsd token mint` prints."""
        done = self._command("token", "mint", "--audience", ORDERS, "--socket", socket)
        if done.returncode != 0:
            raise ChildFailed(f"altsd token mint ends with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def verifies(self, token):
        """Whether `altsd token verify` says that it is good."""
        words = ["token", "verify", "-", "--audience", ORDERS, "--socket", f"unix:{self.socket}"]
        done = self._command(*words, given=token)
        if done.returncode not in (VERIFY_GOOD, VERIFY_BAD):
            raise ChildFailed(f"altsd {' '.join(words)} ends with {done.returncode}: {done.stderr.strip()}")
        return done.returncode == VERIFY_GOOD

    def _command(self, *words, given=None):
        return subprocess.run([self._binary, *words], input=given, capture_output=True, text=True, timeout=ASK_SECONDS)

    def _configuration(self, kind, directory, other):
        (directory / "other-issuer.json").write_text(json.dumps({"keys": [other.jwk]}))
        handshaker = self._handshaker or f"unix:{directory}/tokens-{kind}-handshaker.sock"
        text = f'state_directory = "{directory}/tokens-{kind}-state"\n'
        text += f'[admin]\naddress = "{self._admin}"\n'
        text += f'[[handshaker.listener]]\naddress = "{handshaker}"\n'
        for account, user in ((RUNNER, os.getuid()), (ALICE.account, ALICE.user), (BOB.account, BOB.user),
                              (STRANGER.account, STRANGER.user)):
            text += f'[[workload]]\nservice_account = "{account}"\nselectors = ["uid:{user}"]\n'
        text += f'[signing_service]\nauthorities = ["{AUTHORITY}"]\n[policy]\ndefault = "allow"\n'
        text += f'[token]\nissuer = "{self.issuer}"\nlifetime_seconds = {LIFETIME}\n'
        text += f'[[token.listener]]\naddress = "unix:{self.socket}"\nmode = "0666"\n'
        text += f'[[token.listener]]\naddress = "{self.address}"\nattested = true\n'
        text += f'[token.keys]\nalgorithm = "{KINDS[kind]}"\nsign_at_once = true\n'
        if self.key:
            text += f'private_key = "{self.key.file}"\n'
        text += f'[[token.trusted_issuer]]\nissuer = "{OTHER_ISSUER}"\njwks_file = "other-issuer.json"\n'
        return text + "".join(rules())


def rules():
    """Who gets which tokens: all that is asked for here, except for one audience."""
    given = f'audiences = {json.dumps([ORDERS, BILLING])}\ndefault_audience = "{ORDERS}"\n'
    given += f'scopes = {json.dumps(SCOPES)}\nunknown_scopes = "drop"\n'
    yield f'[[token.rule]]\nissuers = ["local"]\nsubjects = ["*"]\n{given}'
    yield (f'[[token.rule]]\nissuers = ["{OTHER_ISSUER}"]\nsubjects = ["*"]\nimpersonation = true\n'
           f'actors = ["{RUNNER}"]\n{given}')
    yield (f'[[token.rule]]\nissuers = ["alts"]\nsubjects = ["{BOB.account}"]\n'
           f'callers = ["{ALICE.account}"]\nactors = ["{ALICE.account}"]\n{given}')


def fresh(issuer, subject, audience):
    now = int(time.time())
    return {"iss": issuer, "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + LIFETIME,
            "jti": uuid.uuid4().hex}


def ask(address, path, method="GET", body=None, headers=None):
    """(status, headers, body) of one HTTP request to HOST:PORT or unix:PATH."""
    connection = Unix(address) if address.startswith("unix:") else http.client.HTTPConnection(
        address, timeout=ASK_SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read().decode()
    finally:
        connection.close()


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, address):
        super().__init__("localhost", timeout=ASK_SECONDS)
        self._path = address.removeprefix("unix:")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ASK_SECONDS)
        self.sock.connect(self._path)


def claims_of(token):
    """What a token says, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def header_of(token):
    return claims_of(f".{token}")


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def until(condition, what, seconds=ASK_SECONDS):
    """Waits for an event."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ChildFailed(f"{what} has not come in {seconds} s")
        time.sleep(0.1)
