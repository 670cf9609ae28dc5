"""Compare Portal over WebSockets with other libraries: `python -m benchmarks.compare_ws`.

The contestants take turns within one run, so their ratios hold on any machine. Every server and every client runs in
its own process. Contestants that are not installed are skipped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from .machine import OthersClock, surroundings
from .report import Part, Target

__all__ = ["compare", "main"]

_MODULES = {
    "portal": "portal",
    "websockets": "websockets",
    "simple-websocket": "simple_websocket",
    "socketio": "socketio",
    "rpyc": "rpyc",
    "rpyc-root": "rpyc",
}
_IDLE = 200  # connections whose memory is measured


@contextmanager
def serving(kind: str) -> Iterator[tuple[str, int]]:
    """Start a server; yield its address and process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ws_servers", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.kill()
        process.communicate()


def measured(kind: str, mode: str, address: str, seconds: float) -> float:
    """Return the figure of a client."""
    command = [sys.executable, "-m", "benchmarks.ws_clients", kind, mode, address, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    return float(done.stdout)


def by_turns(part: Part, contestants: Sequence[tuple[str, str, str]], rounds: int, seconds: float) -> Part:
    """Let the contestants take turns; each is (name, kind, mode)."""
    others = OthersClock()
    for _ in range(rounds):
        for name, kind, mode in contestants:
            if name in part.skipped or find_spec(_MODULES[kind]) is None:
                part.skipped.setdefault(name, f"{_MODULES[kind]} is not installed")
                continue
            try:
                with serving(kind) as (address, _):
                    part.rounds.setdefault(name, []).append(measured(kind, mode, address, seconds))
            except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
                part.rounds.pop(name, None)
                part.skipped[name] = str(error)
    part.others = others.busy()
    return part


def memory(rounds: int) -> Part:
    """Measure the memory of a server for each idle connection, and its threads."""
    import psutil

    part = Part(
        f"Part 4: {_IDLE} idle connections",
        "bytes of the server for each, least",
        (Target("Portal", "websockets", "<=", 0.5), Target("Portal", "simple-websocket", "<=", 0.5)),
        rates=False,
    )
    from websockets.sync.client import connect

    for _ in range(rounds):
        for name, kind in (
            ("Portal", "portal"),
            ("websockets", "websockets"),
            ("simple-websocket", "simple-websocket"),
        ):
            if find_spec(_MODULES[kind]) is None:
                part.skipped[name] = f"{_MODULES[kind]} is not installed"
                continue
            with serving(kind) as (address, pid):
                process = psutil.Process(pid)
                opened = [connect(address, compression=None, legacy=True) for _ in range(20)]
                before = process.memory_info().rss
                opened += [connect(address, compression=None, legacy=True) for _ in range(_IDLE)]
                used = (process.memory_info().rss - before) / _IDLE
                part.rounds.setdefault(name, []).append(max(1.0, used))
                part.notes.append(f"{name}: {process.num_threads()} threads with {len(opened)} connections.")
                for connection in opened:
                    connection.socket.close()
    part.notes = list(dict.fromkeys(part.notes))
    return part


def compare(rounds: int, seconds: float) -> Iterator[Part]:
    """Yield the parts, each one as soon as it is measured."""
    one, many = "Portal, one call after the other", "Portal, map_at, 64 in flight"
    threads = "Portal, 64 threads"
    yield by_turns(
        Part(
            "Part 1: one client, one connection",
            "calls/s, median",
            (
                Target(one, "websockets", ">=", 1.3),
                Target(one, "rpyc, conn.root.add(...)", ">=", 1.0),
                Target(one, "rpyc, add = conn.root.add kept"),
                Target(many, one, ">=", 2.5),
                Target(threads, one, ">=", 2.5),
            ),
        ),
        (
            (one, "portal", "sequential"),
            ("websockets", "websockets", "sequential"),
            ("rpyc, conn.root.add(...)", "rpyc-root", "sequential"),
            ("rpyc, add = conn.root.add kept", "rpyc", "sequential"),
            (many, "portal", "map"),
            (threads, "portal", "64 threads"),
        ),
        rounds,
        seconds,
    )
    shared, bare = "Portal, one connection", "simple-websocket, 16 connections"
    yield by_turns(
        Part(
            "Part 2: 16 threads of one client process",
            "calls/s, median",
            (
                Target(shared, "simple-websocket, 16 connections", ">=", 1.3),
                Target(shared, "websockets, 16 connections"),
            ),
        ),
        (
            (shared, "portal", "16 threads"),
            (bare, "simple-websocket", "16 threads"),
            ("websockets, 16 connections", "websockets", "16 threads"),
        ),
        rounds,
        seconds,
    )
    yield by_turns(
        Part(
            "Part 3: 100 messages to 1,000 subscribers, each in order",
            "deliveries/s, median",
            (Target("Portal", "websockets"), Target("Portal", "python-socketio, threads")),
        ),
        (
            ("Portal", "portal", "fan-out"),
            ("websockets", "websockets", "fan-out"),
            ("python-socketio, threads", "socketio", "fan-out"),
        ),
        rounds,
        seconds,
    )
    yield memory(rounds)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print tables. The exit status is 0 even when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_ws", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant (3)")
    parser.add_argument("--seconds", type=float, default=3, help="length of a turn (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as JSON")
    options = parser.parse_args(arguments)
    conditions = surroundings()
    print("\n".join(f"{name}: {value}" for name, value in conditions.items()))
    print(f"{options.rounds} rounds of {options.seconds:g} s\n", flush=True)
    parts = []
    for part in compare(options.rounds, options.seconds):
        parts.append(part.to_dict())
        print("\n".join(part.lines()), end="\n\n", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(conditions | {"parts": parts}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
