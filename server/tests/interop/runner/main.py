"""The command line of the runner."""

import argparse
import fnmatch
import os
import signal
import sys
from pathlib import Path

from . import altsd
from .build import REPOSITORY, Missing
from .cases import all_cases
from .peers import EnvoyPeer, GoPeer, JavaPeer, PythonPeer, RustPeer, StepCa, TokenPrograms
from .process import ChildFailed
from .play import Failure
from .world import World

# Off Google Cloud these do nothing without `altsd exec`; "exec" is how a case of another peer says so.
NEED_EXEC = {"python", "go", "exec"}


def main():
    args = parse_arguments()
    cases = select(args.only)
    if args.list:
        print("\n".join(case.id for case in cases))
        return 0
    if not has_vectors() and os.environ.get("CI") != "true":
        for case in (case for case in cases if "vectors" in case.peers):
            say("left", case, "ALTSD_VECTORS names no directory of test vectors; CI demands one")
        cases = [case for case in cases if "vectors" not in case.peers]
    # An end from outside has to run the clean-up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binary = args.altsd.resolve() if args.altsd else altsd.build(REPOSITORY)
    return run(cases, binary, args.cache.resolve(), args.all)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run", description=__doc__)
    parser.add_argument("--all", action="store_true", help="a missing peer is a failure (as CI runs it)")
    parser.add_argument("--only", metavar="PEER[/CASE]", action="append",
                        help="e.g. go, go-python, go-python/unary, */many; repeatable")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--altsd", type=Path, help="the program to test (default: cargo build --release)")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / "target" / "interop",
                        help="where the peers are built (default: target/interop)")
    return parser.parse_args()


def select(patterns):
    cases = all_cases()
    for pattern in patterns or ():
        if not any(matches(case, pattern) for case in cases):
            sys.exit(f"no case is called {pattern}; --list names them all")
    return [case for case in cases if not patterns or any(matches(case, p) for p in patterns)]


def matches(case, pattern):
    peer, _, name = pattern.replace("→", "-").partition("/")
    subject = case.id.partition("/")[0]
    named = fnmatch.fnmatch(subject, peer) or peer in subject.split("-")
    return named and fnmatch.fnmatch(case.name, name or "*")


def run(cases, binary, cache, demand_all):
    peers = all_peers()
    world = World(binary, peers)
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    try:
        missing = prepare(peers, cases, cache, world)
        for peer, reason in missing.items():
            print(f"missing {peer}: {reason}", flush=True)
        world.open()
        for case in cases:
            counts[play(case, world, missing)] += 1
    except ChildFailed as failure:
        sys.exit(f"no case could begin: {failure}")
    finally:
        world.close(keep=counts["FAIL"] > 0)
    if counts["FAIL"]:
        print(f"logs are in {world.directory}")
    print("{ok} passed, {FAIL} failed, {skip} skipped".format(**counts))
    return 1 if counts["FAIL"] or (demand_all and counts["skip"]) else 0


def all_peers():
    python = PythonPeer()
    peers = (python, GoPeer(), JavaPeer(), EnvoyPeer(python), RustPeer(), StepCa(), TokenPrograms())
    return {peer.name: peer for peer in peers}


def prepare(peers, cases, cache, world):
    """Builds what the cases need; what could not be had, with the reason."""
    missing = {}
    cache.mkdir(parents=True, exist_ok=True)
    wanted = {name for case in cases for name in case.peers}
    for name in (name for name in peers if name in wanted):
        print(f"preparing {name}", flush=True)
        try:
            peers[name].prepare(cache)
        except Missing as reason:
            missing[name] = reason
    if wanted & NEED_EXEC and (reason := altsd.exec_refusal(world.binary, world.directory)):
        missing.update(dict.fromkeys(NEED_EXEC & wanted, reason))
    if "vectors" in wanted and not has_vectors():
        missing["vectors"] = "ALTSD_VECTORS names no directory of test vectors"
    if "root" in wanted and os.geteuid() != 0:
        missing["root"] = "a name server of one's own, on port 53, and programs of other users are for root"
    return missing


def has_vectors():
    return os.path.isdir(os.environ.get("ALTSD_VECTORS", ""))


def play(case, world, missing):
    lacking = [peer for peer in case.peers if peer in missing]
    if lacking:
        return say("skip", case, f"without {', '.join(lacking)}")
    try:
        case.play(world)
    except (Failure, ChildFailed) as failure:
        return say("FAIL", case, f"\n     {failure}")
    except Exception as error:  # a broken case must not hide the ones after it
        return say("FAIL", case, f"\n     {error!r}")
    return say("ok", case)


def say(word, case, rest=""):
    colon = ": " if rest else ""
    print(f"{word:<4} {case.title}{colon}{rest}", flush=True)
    return word
