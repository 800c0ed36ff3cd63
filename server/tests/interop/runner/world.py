"""What a run has: its directory, certificates, daemons, and the servers that cases share."""

import itertools
import shutil
import tempfile
from pathlib import Path

from .altsd import Daemon, Handshakers
from .attested import Attested
from .doors import Doors
from .listed import Listed
from .peers import Call, Handshaker, Offer
from .pki import IDENTITIES, Authority
from .process import Child
from .stepped import Stepped

CLIENTS = tuple(i.account for i in IDENTITIES.values() if not i.name.endswith("-server"))


class World:
    def __init__(self, binary, peers):
        self.binary = binary
        self.peers = peers
        self.directory = Path(tempfile.mkdtemp(prefix="altsd-interop-"))
        self._numbers = itertools.count(1)
        self._children = []
        self._servers = {}
        self.handshakers = None
        self._attested = None
        self._stepped = None
        self._listed = None
        self._doors = None
        self._envoys = {}

    def open(self):
        Authority(self.directory)
        self.handshakers = Handshakers(self.binary, self.directory)
        for peer in self.peers.values():
            peer.altsd, peer.dead_address = self.binary, self.handshakers.dead_address

    def close(self, keep):
        for child in reversed(self._children):
            child.stop()
        for daemon in self.daemons():
            daemon.stop()
        if not keep:
            shutil.rmtree(self.directory)

    def start(self, name, command, environment=None, talks=False):
        child = Child(f"{next(self._numbers):03}-{name}", command, self.directory, environment, talks)
        self._children.append(child)
        return child

    def file(self, name):
        return self.directory / f"{next(self._numbers):03}-{name}"

    def start_dev_daemon(self):
        address = self.handshakers.dev_address
        return Daemon("altsd-dev", self.binary, ["--dev", "--listen", address], [address], self.directory), address

    def attested(self):
        """The daemon that tells its callers apart, from the first case on that wants it."""
        if not self._attested:
            self._attested = Attested(self.binary, self.handshakers.attested_address, self.directory)
        return self._attested

    def stepped(self):
        """The daemon that asks step for certificates."""
        if not self._stepped:
            self._stepped = Stepped(self.binary, self.peers["step"].program, self.directory)
        return self._stepped

    def listed(self):
        """The daemon with peer lists."""
        if not self._listed:
            self._listed = Listed(self.binary, self.handshakers.listed_addresses, self.directory)
        return self._listed

    def doors(self):
        """The daemons that issue tokens."""
        if not self._doors:
            self._doors = Doors(self.binary, self.handshakers.token_addresses, self.directory)
        return self._doors

    def envoy(self, name, configuration):
        """The address of an Envoy with this configuration, kept for the cases to come that want the same."""
        if name not in self._envoys:
            _, self._envoys[name] = self.peers["envoy"].start(self, name, configuration())
        return self._envoys[name]

    def daemons(self):
        others = [one.daemon for one in (self._attested, self._stepped, self._listed) if one]
        others += self._doors.daemons() if self._doors else []
        return [self.handshakers.main, self.handshakers.foreign, *others] if self.handshakers else []

    def handshaker(self, identity, by):
        return Handshaker(self.handshakers.addresses[identity.name], by)

    def server(self, peer, identity=None, by=None, handshaker=None, peers=CLIENTS, environment=None, more=()):
        """A server of this peer, kept for the cases to come that want the same."""
        identity = identity or IDENTITIES[f"{peer}-server"]
        handshaker = handshaker or self.handshaker(identity, by or self.peers[peer].how)
        key = (peer, handshaker, peers if peer == "envoy" else None, str(environment), more)
        if key not in self._servers:
            offer = Offer(handshaker, identity.account, peers, environment or {}, more)
            self._servers[key] = self.peers[peer].server(self, offer)
        return self._servers[key]

    def own_server(self, peer, listen="127.0.0.1:0", environment=None):
        """A server of this peer for one case, which may stop it."""
        identity = IDENTITIES[f"{peer}-server"]
        handshaker = self.handshaker(identity, self.peers[peer].how)
        offer = Offer(handshaker, identity.account, CLIENTS, environment or {}, listen=listen)
        return self.peers[peer].server(self, offer)

    def call(self, peer, target, case="unary", identity=None, by=None, handshaker=None, **rest):
        """Has a client of this peer call; its result."""
        identity = identity or IDENTITIES[f"{peer}-client"]
        handshaker = handshaker or self.handshaker(identity, by or self.peers[peer].how)
        # A hundred programs' worth of connections on one busy machine may take a while, and so may much data.
        deadline = 60.0 if case in ("many", "bulk", "rekey") else 15.0
        return self.peers[peer].call(self, Call(
            target, handshaker, case, identity.account, deadline=deadline, **rest))

    def talk(self, peer, target, identity=None, handshaker=None, case="again", **rest):
        """Has a client of this peer call, and keep its connection for what follows."""
        identity = identity or IDENTITIES[f"{peer}-client"]
        handshaker = handshaker or self.handshaker(identity, self.peers[peer].how)
        return self.peers[peer].talk(self, Call(target, handshaker, case, identity.account, **rest))

    def call_plaintext(self, target):
        return self.peers["python"].call(self, Call(target, None, "unary", ""))
