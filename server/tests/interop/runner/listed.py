"""A daemon that admits by peer lists only, and what its operator does to them while it runs."""

import json
import subprocess
import time
from dataclasses import dataclass

from .altsd import Daemon
from .peers import Handshaker, opener
from .pki import AUTHORITY
from .process import ChildFailed

OPERATOR_SECONDS = 60
CHECK_ALLOWED, CHECK_REFUSED = 0, 3
# Files are looked at once a second, and have to hold still for one.
RELOAD_SECONDS = 20
TRAIL_SECONDS = 5
RELOADED = "the documents of peer lists have changed"


@dataclass(frozen=True)
class Local:
    name: str

    @property
    def account(self):
        return f"{self.name}@{AUTHORITY}"


# Whom everybody calls; who may; who is not on its list.
SERVER, FRIEND, UNLISTED = Local("server"), Local("friend"), Local("unlisted")
# Who may call nobody; of whose calls nothing is said; whom a rule in shadow would refuse.
CONFINED, SILENT, TRIED = Local("confined"), Local("silent"), Local("tried")
LOCALS = (SERVER, FRIEND, UNLISTED, CONFINED, SILENT, TRIED)

CALLERS = f"""
[[peer_list]]
name = "callers"
peers = ["{FRIEND.account}", "{CONFINED.account}", "{SILENT.account}", "{TRIED.account}"]
"""
RULES = f"""
[[rule]]
name = "server-callers"
local = "{SERVER.account}"
side = "server"
action = "allow"
peer_lists = ["callers"]

[[rule]]
name = "soon-refused"
local = "{SERVER.account}"
side = "server"
action = "deny"
mode = "shadow"
peers = ["{TRIED.account}"]

[[rule]]
name = "confined-calls"
local = "{CONFINED.account}"
side = "client"
action = "deny"
peers = ["*@{AUTHORITY}"]
"""
CALLS = """
[[rule]]
name = "{name}-calls"
local = "{account}"
side = "client"
action = "allow"
peers = ["{server}"]
"""
for one in (FRIEND, UNLISTED, TRIED):
    RULES += CALLS.format(name=one.name, account=one.account, server=SERVER.account)
DOCUMENT = CALLERS + RULES


class Listed:
    """An address for every account, an admin socket, metrics and an audit trail; its default is to refuse."""

    def __init__(self, binary, addresses, directory):
        self._binary = binary
        self._addresses = {one.name: address for one, address in zip(LOCALS, addresses)}
        self._metrics = addresses[len(LOCALS)]
        self._admin = f"unix:{directory}/admin.sock"
        self._trail = directory / "audit.log"
        self._file = directory / "peers.toml"
        self._document = DOCUMENT
        self._file.write_text(DOCUMENT)
        config = directory / "listed.toml"
        config.write_text(self._configuration(directory))
        waited_for = [*self._addresses.values(), self._metrics]
        self.daemon = Daemon("listed", binary, ["--config", config], waited_for, directory)

    def handshaker(self, local, by):
        return Handshaker(self._addresses[local.name], by)

    def says(self, document=DOCUMENT):
        """Edits the file, and waits until what it says is in use."""
        if document == self._document:
            return
        mark = len(self.daemon.log())
        new = self._file.with_suffix(".new")
        new.write_text(document)
        new.rename(self._file)
        self._document = document
        if RELOADED not in self.daemon.log_after(mark, RELOADED, RELOAD_SECONDS):
            raise ChildFailed(f"altsd has not read the document again in {RELOAD_SECONDS} s")

    def operator(self, *words):
        """What the operator's command prints; it has to succeed."""
        done = self._command(*words)
        if done.returncode != 0:
            raise ChildFailed(f"altsd {' '.join(words)} ends with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def admits(self, local, peer, side):
        """What `altsd policy check` says."""
        words = ["policy", "check", "--local", local.account, "--peer", peer.account, "--side", side]
        done = self._command(*words)
        if done.returncode not in (CHECK_ALLOWED, CHECK_REFUSED):
            raise ChildFailed(f"altsd {' '.join(words)} ends with {done.returncode}: {done.stderr.strip()}")
        return done.returncode == CHECK_ALLOWED

    def certificate(self, local):
        """How `altsd certs show` describes the certificate of this account."""
        return json.loads(self.operator("certs", "show", local.account, "--output", "json"))

    def clear(self):
        """Takes back what operators have put into the store; the file counts alone again."""
        for kind, key in (("list", "peer_lists"), ("rule", "rules"), ("target", "target_names")):
            for one in json.loads(self.operator("policy", "list", "--output", "json"))[key]:
                if one["origin"] == "store":
                    self.operator("policy", "delete", kind, one["name"])
        for one in json.loads(self.operator("revoke", "list", "--output", "json"))["revocations"]:
            self.operator("revoke", "undo", one["name"])

    def _command(self, *words):
        command = [self._binary, *words, "--admin", self._admin]
        return subprocess.run(command, capture_output=True, text=True, timeout=OPERATOR_SECONDS)

    def mark(self):
        """Where the audit trail ends now."""
        return len(self._trail.read_text())

    def records(self, mark, **fields):
        """Lines of the trail since then with these fields; the line may come a moment after the answer."""
        end = time.monotonic() + TRAIL_SECONDS
        while True:
            whole, _, _ = self._trail.read_text()[mark:].rpartition("\n")
            records = [json.loads(line) for line in whole.splitlines()]
            found = [one for one in records if fields.items() <= one.items()]
            if found or time.monotonic() > end:
                return found
            time.sleep(0.05)

    def metric(self, name, **labels):
        """The value of a counter, 0 before it was first counted."""
        with opener().open(f"http://{self._metrics}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines
            if line.startswith(name + "{") and all(label in line for label in wanted))

    def _configuration(self, directory):
        text = f'state_directory = "{directory}/listed-state"\n'
        for local in LOCALS:
            text += f'[[handshaker.listener]]\naddress = "{self._addresses[local.name]}"\n'
            text += f'identity = "{local.account}"\n[[identity]]\naccount = "{local.account}"\n'
        return text + (
            f'[signing_service]\nauthorities = ["{AUTHORITY}"]\n'
            f'[policy]\ndefault = "deny"\nfiles = ["{self._file}"]\n'
            f'[admin]\naddress = "{self._admin}"\n'
            f'[metrics]\naddress = "{self._metrics}"\n'
            f'[audit]\nfile = "{self._trail}"\n')
