"""altsd itself: building it, configuring it, running it, and `altsd exec`."""

import random
import re
import socket
import subprocess
import time

from .pki import AUTHORITY, IDENTITIES, INTRUDER
from .process import Child, ChildFailed, finish

BUILD_SECONDS = 1800
PORT = 8080  # grpc core knows no other
FOR_LISTED = 7  # addresses for the daemon with peer lists
FOR_TOKENS = 5  # and for those that issue tokens


def build(repository):
    command = ["cargo", "build", "--release", "--locked", "-p", "altsd"]
    subprocess.run(command, cwd=repository, check=True, timeout=BUILD_SECONDS)
    return repository / "target" / "release" / "altsd"


class Daemon:
    """An `altsd run` with its log."""

    def __init__(self, name, binary, arguments, addresses, directory):
        self.name = name
        self._child = Child(name, [binary, "run", *arguments], directory)
        try:
            for address in addresses:
                self._child.wait_until(lambda: accepts(address), f"listening on {address}")
        except ChildFailed:
            self._child.stop()
            raise

    def log(self):
        return self._child.log.read_text(errors="replace")

    def log_after(self, offset, pattern, seconds=5):
        """What was logged since; the line looked for may come a moment after the answer."""
        return text_after(self._child.log, offset, pattern, seconds)

    def running(self):
        return self._child.running()

    def stop(self):
        return self._child.stop()


class Handshakers:
    """One daemon with an address for every identity, and one of another authority."""

    def __init__(self, binary, directory):
        self._block = free_block(len(IDENTITIES) + 4 + FOR_LISTED + FOR_TOKENS)
        self.addresses = {name: self._tcp(i) for i, name in enumerate(IDENTITIES)}
        self.addresses["go-unix"] = f"unix:{directory}/go.sock"
        self.addresses["rust-unix"] = f"unix:{directory}/rust.sock"
        # grpc core, and with it Envoy, sends the socket's path as the authority of its request. Rust's
        # HTTP/2 takes the percent signs in it only where a user name could stand, hence the "@".
        self.addresses["envoy-unix"] = f"unix:{directory}/envoy@altsd.sock"
        self.addresses[INTRUDER.name] = self._tcp(len(IDENTITIES))
        self.dev_address = self._tcp(len(IDENTITIES) + 1)
        self.dead_address = self._tcp(len(IDENTITIES) + 2)
        self.attested_address = self._tcp(len(IDENTITIES) + 3)
        others = [self._tcp(len(IDENTITIES) + 4 + i) for i in range(FOR_LISTED + FOR_TOKENS)]
        self.listed_addresses, self.token_addresses = others[:FOR_LISTED], others[FOR_LISTED:]

        self.main = self._start("altsd", binary, directory, IDENTITIES.values(), ["root.pem"])
        try:
            self.foreign = self._start(
                "altsd-foreign", binary, directory, [INTRUDER], ["root.pem", "foreign.pem"])
        except ChildFailed:
            self.main.stop()
            raise

    def _tcp(self, number):
        return f"{self._block}.{number + 1}:{PORT}"

    def _start(self, name, binary, directory, identities, roots):
        addresses = [self.addresses[identity.name] for identity in identities]
        config = directory / f"{name}.toml"
        config.write_text(configuration(zip(addresses, identities, strict=True), roots))
        return Daemon(name, binary, ["--config", config], addresses, directory)


def configuration(listeners, roots):
    text = "[handshaker]\n"
    identities = ""
    for address, identity in listeners:
        text += f'[[handshaker.listener]]\naddress = "{address}"\nidentity = "{identity.account}"\n\n'
        identities += (
            f'[[identity]]\naccount = "{identity.account}"\n'
            f'certificate_chain = "{identity.name}.pem"\nprivate_key = "{identity.name}.key"\n\n'
        )
    quoted = ", ".join(f'"{root}"' for root in roots)
    # The domain of the mail accounts, and the trust domain of the SPIFFE IDs.
    for authority in (AUTHORITY, f"spiffe://{AUTHORITY}"):
        identities += f'[[trust]]\nauthority = "{authority}"\nroots = [{quoted}]\n\n'
    return text + identities + '[policy]\ndefault = "allow"\n'


def text_after(file, offset, pattern, seconds=5):
    """What was written to a file since, as soon as the pattern is in it or the time is up."""
    end = time.monotonic() + seconds
    while True:
        text = file.read_text(errors="replace")[offset:]
        if re.search(pattern, text) or time.monotonic() > end:
            return text
        time.sleep(0.05)


def free_block(size):
    """Three numbers of a loopback network in which nobody uses the handshaker's port."""
    for _ in range(100):
        block = f"127.{random.randint(2, 254)}.{random.randint(1, 254)}"
        try:
            for number in range(1, size + 1):
                with socket.socket() as probe:
                    probe.bind((f"{block}.{number}", PORT))
        except OSError:
            continue
        return block
    raise ChildFailed(f"port {PORT} is taken on all of 127.0.0.0/8, or may not be used")


def accepts(address):
    kind, target = socket.AF_UNIX, address.removeprefix("unix:")
    if target == address:
        host, port = address.rsplit(":", 1)
        kind, target = socket.AF_INET, (host, int(port))
    with socket.socket(kind) as probe:
        return probe.connect_ex(target) == 0


def exec_refusal(binary, directory):
    """Why `altsd exec` does not work on this machine, None where it does."""
    command = exec_prefix(binary, f"127.0.0.1:{PORT}") + ["true"]
    code, child = finish("exec-probe", command, directory, 30)
    return None if code == 0 else f"altsd exec: {one_line(child.log.read_text())}"


def exec_prefix(binary, handshaker):
    return [binary, "exec", "--handshaker", handshaker, "--"]


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()[:300]
