"""Child processes: output in files, every wait with a limit, ended by the id that started them."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

READY_SECONDS = 60
STOP_SECONDS = 10
# What proxy settings of the machine would do is a case of its own.
PROXY_VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy")


class ChildFailed(Exception):
    pass


class Child:
    """One program with its files NAME.out and NAME.log."""

    def __init__(self, name, command, directory, environment=None, talks=False):
        self.name = name
        self.out = Path(directory) / f"{name}.out"
        self.log = Path(directory) / f"{name}.log"
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL, stdout=out, stderr=log,
                env={**plain_environment(), **(environment or {})},
                start_new_session=True,
            )

    def running(self):
        return self._process.poll() is None

    def say_line(self):
        """An empty line for a program that was started to be talked with."""
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def wait(self, seconds):
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"{self.name} did not end within {seconds} s{self.tail()}") from None

    def ready_address(self):
        """The address in the line {"ready": ADDRESS} that every server prints."""
        self.wait_until(lambda: self.out.read_text().endswith("\n"), "ready")
        return json.loads(self.out.read_text().splitlines()[0])["ready"]

    def wait_until(self, condition, what):
        end = time.monotonic() + READY_SECONDS
        while not condition():
            if not self.running():
                raise ChildFailed(f"{self.name} ended before it was {what}{self.tail()}")
            if time.monotonic() > end:
                raise ChildFailed(f"{self.name} was not {what} in {READY_SECONDS} s{self.tail()}")
            time.sleep(0.02)

    def stop(self):
        """Ends the program and what it has started; the exit code, None where it had to be killed."""
        for number, code in ((signal.SIGTERM, True), (signal.SIGKILL, False)):
            if self._process.poll() is None:
                # Its own session: the group is the program and its children, nobody else.
                os.killpg(self._process.pid, number)
            try:
                result = self._process.wait(STOP_SECONDS)
                return result if code else None
            except subprocess.TimeoutExpired:
                continue
        raise ChildFailed(f"{self.name} (process {self._process.pid}) cannot be ended")

    def tail(self, lines=8):
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "".join(f"\n      {line[:300]}" for line in text)


def plain_environment():
    return {k: v for k, v in os.environ.items() if k.lower() not in PROXY_VARIABLES}


def finish(name, command, directory, seconds, environment=None):
    """Runs a program to its end and returns (exit code, child)."""
    child = Child(name, command, directory, environment)
    try:
        return child.wait(seconds), child
    finally:
        child.stop()
