"""A daemon whose certificates come from a CA of step, by the script that the guide has for it."""

from dataclasses import dataclass

from .altsd import Daemon
from .build import HERE
from .peers import Handshaker
from .pki import AUTHORITY
from .process import ChildFailed, finish

GUIDE = HERE.parents[2] / "docs" / "CONFIGURING.md"
CA_SECONDS = 30


@dataclass(frozen=True)
class Account:
    name: str
    account: str


CLIENT = Account("step-client", f"step-client@{AUTHORITY}")
# With a SPIFFE ID alone: step has to keep a URI as it keeps a mail name.
SERVER = Account("step-server", f"spiffe://{AUTHORITY}/step/server")


class Stepped:
    """A root, an intermediate that signs, and a unix socket for each of the two accounts."""

    def __init__(self, binary, program, directory):
        self._directory = directory
        self._program = program
        self._sockets = {one.name: f"unix:{directory}/{one.name}.sock" for one in (CLIENT, SERVER)}
        self._create("root", "--profile", "root-ca")
        self._create("intermediate", "--profile", "intermediate-ca", "--ca", directory / "step-root.crt",
                     "--ca-key", directory / "step-root.key")
        script = self._directory / "sign-with-step"
        script.write_text(self._script())
        script.chmod(0o755)
        config = directory / "stepped.toml"
        config.write_text(self._configuration(script))
        self.daemon = Daemon("stepped", binary, ["--config", config], self._sockets.values(), directory)

    def handshaker(self, account):
        return Handshaker(self._sockets[account.name], "option")

    def _create(self, name, *options):
        files = [self._directory / f"step-{name}.{ending}" for ending in ("crt", "key")]
        command = [self._program, "certificate", "create", f"Interop {name}", *files, "--no-password",
                   "--insecure", *options]
        code, child = finish(f"step-create-{name}", command, self._directory, CA_SECONDS)
        if code != 0:
            raise ChildFailed(f"step made no {name}{child.tail()}")

    def _script(self):
        text = GUIDE.read_text().partition("# sign-with-step\n")[2].partition("```")[0]
        text = text.replace("exec step ", f"exec '{self._program}' ")
        return "#!/bin/sh\n" + text.replace("/etc/our-ca/", f"{self._directory}/step-")

    def _configuration(self, script):
        text = f'[external_ca]\ncommand = ["{script}"]\n'
        for one in (CLIENT, SERVER):
            text += f'[[handshaker.listener]]\naddress = "{self._sockets[one.name]}"\n'
            text += f'identity = "{one.account}"\n'
            text += f'[[identity]]\naccount = "{one.account}"\n'
        for authority in (AUTHORITY, f"spiffe://{AUTHORITY}"):
            text += f'[[trust]]\nauthority = "{authority}"\nroots = ["step-root.crt"]\n'
        return text + '[policy]\ndefault = "allow"\n'
