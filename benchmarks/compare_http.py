"""Portal side by side with others: `python -m benchmarks.compare_http`.

All contestants take turns within one run, so that the ratios hold on whatever machine it is; the rates themselves say
little beyond it. Every server and every client is a process of its own. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from .contestants import CLIENTS, PROTECTED, SERVERS, THREADED, Contestant, call_rate, check_server, serving
from .load import has_wrk, request_rate
from .local import compare_local
from .machine import OthersClock, surroundings
from .report import Part, Target

__all__ = ["compare", "main"]

_PORTAL = "Portal"
_THREADS = 16
_FAILURES = (OSError, RuntimeError, ValueError, subprocess.SubprocessError)
_WRK = "Load: wrk -t2 -c16. It sends the same head every time, which Portal parses once; a Portal client never does."
_PINNED = (
    "The minimal server's threads pass the interpreter lock between processors, which costs most of its time where two "
    "are free and little where another process holds one; kept on one processor it shows what it can do."
)
_NO_WRK = (
    "Load: wrk is not installed, so a generator in Python with 16 connections. It is no faster than the fastest "
    "servers, which narrows the ratios; that to the minimal server is not judged, since it would help to meet it."
)

Measure = Callable[[Contestant, str], float]


def compare(parts: Iterable[int], rounds: int, seconds: int) -> Iterator[Part]:
    """The parts by number, each as soon as it is measured."""
    for number in parts:
        others = OthersClock()
        part = _PARTS[number](rounds, seconds)
        part.others = others.busy()
        yield part


def _servers(rounds: int, seconds: int) -> Part:
    part = Part(
        "Part 1: servers, 16 connections",
        "requests/s, median",
        (
            Target(_PORTAL, "Flask+waitress", ">=", 6.0),
            Target(_PORTAL, "FastAPI+uvicorn", ">=", 8.0),
            Target(_PORTAL, "minimal server", ">=", 0.7) if has_wrk() else Target(_PORTAL, "minimal server"),
            Target(_PORTAL, "minimal server, one processor"),
        ),
    )
    part.notes.append(_WRK if has_wrk() else _NO_WRK)
    part.notes.append(_PINNED)
    _by_turns(part, SERVERS, rounds, _warm_up, _rate(seconds))
    return part


def _protected(rounds: int, seconds: int) -> Part:
    protected, at_once = "Portal, protected", "Portal, protected, log unbuffered"
    everything = "Portal, everything on"
    part = Part(
        "Part 5: servers, 16 connections, with middleware on",
        "requests/s, median",
        (
            Target(protected, _PORTAL, ">=", 0.5),
            Target(protected, "FastAPI+uvicorn", ">=", 3.0),
            Target(at_once, _PORTAL),
            Target(at_once, "FastAPI+uvicorn"),
            Target(everything, _PORTAL),
            Target(everything, "FastAPI+uvicorn"),
        ),
    )
    part.notes.append(
        "Protected: JWT, a rate limit for each identity, call counters, a line for each request in a log file, "
        "those of 50 ms together."
    )
    part.notes.append(
        "Log unbuffered: the same, each line written at once. Everything: this with security headers and CORS. FastAPI "
        "has nothing of it on."
    )
    _by_turns(part, PROTECTED, rounds, _warm_up, _rate(seconds))
    return part


def _warm_up(contestant: Contestant, url: str) -> None:
    check_server(url, contestant)
    request_rate(url, 1, contestant.headers())


def _rate(seconds: int) -> Measure:
    return lambda contestant, url: request_rate(url, seconds, contestant.headers())


def _sequential(rounds: int, seconds: int) -> Part:
    part = Part(
        "Part 2: one client, one call after the other",
        "calls/s, median",
        (
            Target(_PORTAL, "requests+Flask+waitress", ">=", 4.0),
            Target(_PORTAL, "Pyro5", ">=", 1.3),
            Target(_PORTAL, "rpyc, conn.root.add(...)", ">", 1.0),
            Target(_PORTAL, "rpyc, add = conn.root.add kept", ">", 1.0),
        ),
    )
    part.notes.append("conn.root.add(...) asks the server twice a call: for the method, then for the result.")
    _by_turns(part, CLIENTS, rounds, _nothing, _calls(seconds, 1))
    return part


def _threaded(rounds: int, seconds: int) -> Part:
    part = Part(
        f"Part 3: {_THREADS} threads of one client process",
        "calls/s, median",
        (
            Target(_PORTAL, "rpyc, one connection", ">", 1.0),
            Target(_PORTAL, "rpyc, a connection a thread"),
            Target(_PORTAL, "Pyro5, a proxy a thread"),
        ),
    )
    part.notes.append("Portal: one Consumer for all threads. The target is held against rpyc's one connection for all.")
    part.notes.append("rpyc: with the method kept.")
    _by_turns(part, THREADED, rounds, _nothing, _calls(seconds, _THREADS))
    return part


def _local(rounds: int, seconds: int) -> Part:
    return compare_local(repeats=5 * rounds)


_PARTS: dict[int, Callable[[int, int], Part]] = {
    1: _servers,
    2: _sequential,
    3: _threaded,
    4: _local,
    5: _protected,
}


def _calls(seconds: int, threads: int) -> Measure:
    return lambda contestant, target: call_rate(contestant.client, target, seconds, threads)


def _nothing(contestant: Contestant, target: str) -> None:
    """Clients check the answer and warm up by themselves."""


def _by_turns(
    part: Part,
    contestants: tuple[Contestant, ...],
    rounds: int,
    prepare: Callable[[Contestant, str], object],
    measure: Measure,
) -> None:
    """Start every contestant's server, then measure one after the other, round by round.

    Those that wait are idle. Each round begins with another contestant, so that none always follows the same one.
    """
    with ExitStack() as running:
        ready: list[tuple[Contestant, str]] = []
        for contestant in contestants:
            missing = contestant.missing()
            if missing:
                part.skipped[contestant.name] = f"{', '.join(missing)} not installed"
                continue
            try:
                target = running.enter_context(serving(contestant.server))
                prepare(contestant, target)
            except _FAILURES as error:
                part.skipped[contestant.name] = str(error)
                continue
            ready.append((contestant, target))
            part.rounds[contestant.name] = []
        for number in range(rounds):
            shift = number % max(1, len(ready))
            for turn in ready[shift:] + ready[:shift]:
                try:
                    part.rounds[turn[0].name].append(measure(*turn))
                except _FAILURES as error:
                    part.skipped[turn[0].name] = f"it failed in round {number + 1}: {error}"
                    del part.rounds[turn[0].name]
                    ready.remove(turn)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print tables, write the figures; the exit code is 0 whatever the targets say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant (3)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a turn (3)")
    parser.add_argument("--part", type=int, action="append", choices=sorted(_PARTS), help="this part alone; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as JSON")
    options = parser.parse_args(arguments)
    conditions = surroundings()
    print("\n".join(f"{name}: {value}" for name, value in conditions.items()))
    print(f"{options.rounds} rounds of {options.seconds} s\n", flush=True)
    parts = []
    for part in compare(options.part or sorted(_PARTS), options.rounds, options.seconds):
        parts.append(part.to_dict())
        print("\n".join(part.lines()), end="\n\n", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(conditions | {"parts": parts}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
