"""The five peers, each as a server and as a client of the echo service, and a CA."""

import json
import string
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from . import build
from .altsd import exec_prefix
from .process import ChildFailed

CLIENT_SECONDS = 100


@dataclass(frozen=True)
class Handshaker:
    """Where a program finds its handshaker.

    by="metadata": through the name that Google Cloud gives it; by="option": through a setting.
    With a user, the program runs as that one.
    """

    address: str
    by: str
    user: int | None = None

    def words(self, words):
        return words if self.user is None else as_user(self.user) + words


def as_user(user):
    """Words that run a program as this user; it may still read its files, which may be root's alone."""
    return ["setpriv", "--reuid", user, "--regid", user, "--clear-groups",
            "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]


@dataclass(frozen=True)
class Call:
    """What a client is asked to do."""

    target: str
    handshaker: Handshaker | None
    case: str
    expect_peer: str
    service_accounts: tuple = ()
    deadline: float = 15.0
    environment: dict = field(default_factory=dict)
    prefix: tuple = ()  # words before the command
    more: tuple = ()  # further words of the command line

    def arguments(self):
        words = ["client", "--target", self.target, "--case", self.case,
                 "--expect-peer", self.expect_peer, "--deadline", self.deadline]
        for account in self.service_accounts:
            words += ["--service-account", account]
        return [*words, *self.more]


@dataclass(frozen=True)
class Offer:
    """What a server is asked to be."""

    handshaker: Handshaker
    account: str
    peers: tuple  # whom an Envoy lets in, empty: anybody; programs see to that themselves
    environment: dict
    more: tuple = ()  # further words of the command line
    listen: str = "127.0.0.1:0"


@dataclass
class Server:
    address: str
    account: str
    children: list

    def stop(self):
        for child in reversed(self.children):
            child.stop()

    def log(self):
        return "".join(child.log.read_text(errors="replace") for child in self.children)


class Dialog:
    """A client that keeps its first connection open, and opens a new one whenever it is asked to."""

    def __init__(self, name, child, others=()):
        self._name = name
        self._child = child
        self._others = others
        self._told = 0

    def first(self):
        """How the connection came up that stays open."""
        return self._next()

    def again(self):
        """How a new connection came up, beside the open one, which has to serve still."""
        self._child.say_line()
        return self._next()

    def close(self):
        for child in (self._child, *self._others):
            child.stop()

    def _next(self):
        self._told += 1
        self._child.wait_until(lambda: self._child.out.read_text().count("\n") >= self._told, "telling")
        line = self._child.out.read_text().splitlines()[self._told - 1]
        logs = [child.log.read_text(errors="replace") for child in (self._child, *self._others)]
        return {**json.loads(line), "client": self._name, "log": "".join(logs)}


class Program:
    """A peer that is a program of its own with the common command line."""

    def __init__(self, name, how):
        self.name = name
        self.how = how  # it finds its handshaker, if the case does not say otherwise
        self.altsd = None
        self.dead_address = None

    def prepare(self, cache):
        """Builds the peer, raises Missing."""
        self._words = self._build(cache)

    def serve(self, world, handshaker, environment=None, listen="127.0.0.1:0", more=()):
        words = self._command(["server", "--listen", listen, *more], handshaker)
        return world.start(f"{self.name}-server", words, environment)

    def server(self, world, offer):
        child = self.serve(world, offer.handshaker, offer.environment, offer.listen, offer.more)
        return Server(child.ready_address(), offer.account, [child])

    def call(self, world, call):
        """Plays the case; what the client printed, its log added."""
        words = [*call.prefix, *self._command(call.arguments(), call.handshaker)]
        child = world.start(f"{self.name}-client", words, call.environment)
        try:
            code = child.wait(CLIENT_SECONDS)
        finally:
            child.stop()
        lines = child.out.read_text().splitlines()
        if not lines or not lines[-1].startswith("{"):
            raise ChildFailed(f"{child.name} ended with {code} and no result{child.tail()}")
        return {**json.loads(lines[-1]), "client": self.name, "log": child.log.read_text(errors="replace")}

    def talk(self, world, call):
        """A client for a case of several steps, to be closed."""
        return Dialog(self.name, self.talker(world, call))

    def talker(self, world, call):
        words = self._command(call.arguments(), call.handshaker)
        return world.start(f"{self.name}-client", words, call.environment, talks=True)

    def _command(self, words, handshaker):
        if handshaker is None:
            return self._words + words + ["--handshaker", "none"]
        if handshaker.by == "metadata":
            prefix = exec_prefix(self.altsd, handshaker.address)
            return prefix + handshaker.words(self._words) + words + ["--handshaker", "metadata"]
        program = handshaker.words(self._words)
        return self._option_prefix() + program + words + ["--handshaker", handshaker.address]

    def _option_prefix(self):
        return []


class PythonPeer(Program):
    def __init__(self):
        super().__init__("python", "metadata")

    def _build(self, cache):
        self.interpreter = build.python_environment(cache, "python") / "bin/python"
        return [self.interpreter, build.HERE / "python" / "peer.py"]


class GoPeer(Program):
    def __init__(self):
        super().__init__("go", "metadata")

    def _build(self, cache):
        return [build.go_peer(cache)]

    def _option_prefix(self):
        # grpc-go wants to be on Google Cloud whatever the address. Nobody listens
        # on this one, so only the option can lead to a handshaker.
        return exec_prefix(self.altsd, self.dead_address)


class JavaPeer(Program):
    def __init__(self):
        super().__init__("java", "option")

    def _build(self, cache):
        # Short runs: to start fast matters more than to run fast.
        return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                "-cp", build.java_classpath(cache), "altsd.interop.Peer"]

    def _command(self, words, handshaker):
        # Some words are for the machine instead of the program; of two, the later counts.
        machine = [word for word in words if str(word).startswith("-XX:")]
        command = super()._command([word for word in words if word not in machine], handshaker)
        at = command.index("-cp")
        return command[:at] + machine + command[at:]


class RustPeer(Program):
    """The example `interop_peer` of alts-client, and its greeter."""

    def __init__(self):
        super().__init__("rust", "option")

    def _build(self, cache):
        self.examples = build.rust_examples()
        return [self.examples / "interop_peer"]


class StepCa:
    """No peer: a CA that altsd asks for certificates."""

    name = "step"

    def prepare(self, cache):
        self.program = build.step(cache)


class TokenPrograms:
    """No peer: Python programs that get tokens, and what else needs more than the standard library."""

    name = "tokens"

    def prepare(self, cache):
        self.interpreter = build.python_environment(cache, "token") / "bin/python"

    def command(self, program, words):
        return [self.interpreter, build.HERE / "token" / program, *words]

    def output(self, world, program, words, environment=None):
        """What a program prints that has to succeed."""
        child = world.start(program, self.command(program, words), environment)
        try:
            code = child.wait(CLIENT_SECONDS)
        finally:
            child.stop()
        if code != 0:
            raise ChildFailed(f"{child.name} ended with {code}{child.tail()}")
        return child.out.read_text()


class EnvoyPeer:
    """Envoy beside a Python program that speaks plaintext with it."""

    name = "envoy"
    how = "option"

    def __init__(self, python):
        self._python = python

    def prepare(self, cache):
        self._program = build.envoy(cache)
        self._python.prepare(cache)

    def server(self, world, offer):
        application = self._python.serve(world, None)
        envoy, address = self._start(
            world, "server", application.ready_address(), offer.handshaker.address, offer.peers,
            offer.environment, offer.listen)
        return Server(address, offer.account, [application, envoy])

    def call(self, world, call):
        envoy, address = self._start(
            world, "client", call.target, call.handshaker.address, call.service_accounts,
            call.environment)
        try:
            plain = Call(address, None, call.case, call.expect_peer, deadline=call.deadline, more=call.more)
            result = self._python.call(world, plain)
        finally:
            envoy.stop()
        return {**result, "client": self.name, "log": envoy.log.read_text(errors="replace")}

    def talk(self, world, call):
        envoy, address = self._start(
            world, "client", call.target, call.handshaker.address, call.service_accounts,
            call.environment)
        plain = Call(address, None, call.case, call.expect_peer, deadline=call.deadline)
        return Dialog(self.name, self._python.talker(world, plain), [envoy])

    def get(self, world, target, handshaker):
        """The answer to a plain HTTP request that an Envoy carries to this target: (status, body)."""
        envoy, address = self._start(world, "client", target, handshaker.address, (), {})
        try:
            with opener().open(f"http://{address}/plain", timeout=CLIENT_SECONDS) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        finally:
            envoy.stop()

    def _start(self, world, side, target, handshaker, peers, environment, listen="127.0.0.1:0"):
        host, port = target.rsplit(":", 1)
        template = string.Template((build.HERE / "envoy" / f"{side}.yaml").read_text())
        return self.start(world, side, template.substitute(
            target_host=host, target_port=port, handshaker=handshaker, peers=json.dumps(list(peers)),
            listen_port=listen.rsplit(":", 1)[1]), environment)

    def start(self, world, name, configuration, environment=None):
        """An Envoy with this configuration, as YAML or JSON, and the address of its listener."""
        config = world.file(f"envoy-{name}.yaml")
        config.write_text(configuration)
        admin = world.file(f"envoy-{name}.admin")
        child = world.start(f"envoy-{name}", [
            self._program, "-c", config, "--admin-address-path", admin, "--disable-hot-restart",
            "--concurrency", "2", "-l", "warning", "--component-log-level", "connection:debug",
        ], environment)
        try:
            return child, ingress_address(child, admin)
        except ChildFailed:
            child.stop()
            raise


def ingress_address(child, admin):
    child.wait_until(lambda: admin.exists() and admin.read_text().strip(), "started")
    base = f"http://{admin.read_text().strip()}"
    found = []

    def ask():
        try:
            # A listener has its address before it accepts anything; what is not ready is answered with 503.
            with opener().open(f"{base}/ready", timeout=10):
                pass
            with opener().open(f"{base}/listeners?format=json", timeout=10) as reply:
                found[:] = json.load(reply).get("listener_statuses", [])
        except OSError:
            return False
        return found

    child.wait_until(ask, "listening")
    address = found[0]["local_address"]["socket_address"]
    return f"{address['address']}:{address['port_value']}"


def opener():
    """Loopback needs no proxy, whatever the environment says."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
