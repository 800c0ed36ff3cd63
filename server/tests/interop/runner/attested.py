"""A daemon that tells its callers apart by their user, with certificates of its own signing service."""

from dataclasses import dataclass

from .altsd import Daemon
from .peers import Handshaker
from .pki import AUTHORITY


@dataclass(frozen=True)
class Workload:
    name: str
    user: int

    @property
    def account(self):
        return f"{self.name}@{AUTHORITY}"


# Users that no system has; the configuration knows the first two.
ALICE, BOB = Workload("alice", 61001), Workload("bob", 61002)
STRANGER = Workload("stranger", 61003)


class Attested:
    """One TCP address and one unix socket, for everybody."""

    def __init__(self, binary, address, directory):
        socket = directory / "attested.sock"
        self._addresses = {"metadata": address, "option": f"unix:{socket}"}
        config = directory / "attested.toml"
        config.write_text(configuration(address, socket, directory / "state"))
        self.daemon = Daemon("attested", binary, ["--config", config], self._addresses.values(), directory)

    def handshaker(self, workload, by):
        return Handshaker(self._addresses[by], by, workload.user)


def configuration(address, socket, state):
    text = f'state_directory = "{state}"\n'
    text += f'[[handshaker.listener]]\naddress = "{address}"\n'
    text += f'[[handshaker.listener]]\naddress = "unix:{socket}"\nmode = "0666"\n'
    for workload in (ALICE, BOB):
        text += f'[[workload]]\nservice_account = "{workload.account}"\nselectors = ["uid:{workload.user}"]\n'
    return text + f'[signing_service]\nauthorities = ["{AUTHORITY}"]\n[policy]\ndefault = "allow"\n'
