"""Compare Portal with other libraries: `python -m benchmarks.compare_http`.

The contestants take turns within one run, so their ratios hold on any machine. The rates alone say little beyond one
machine. Every server and every client runs in its own process. Contestants that are not installed are skipped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from .certificate import certificate_files
from .contestants import (
    CLIENTS,
    ORDERS,
    PROTECTED,
    SERVERS,
    STREAMS,
    THREADED,
    TLS_CLIENTS,
    TLS_SERVERS,
    Contestant,
    call_rate,
    check_server,
    serving,
)
from .load import has_wrk, request_rate
from .local import compare_local
from .machine import OthersClock, surroundings
from .objects import compare_objects
from .order import LINES
from .report import Part, Target
from .rows import ITEMS, ROWS

__all__ = ["compare", "main"]

_PORTAL = "Portal"
_THREADS = 16
_FAILURES = (OSError, RuntimeError, ValueError, subprocess.SubprocessError)
_WRK = (
    "Load: wrk -t2 -c16. It sends the same head every time, so Portal parses it once. A Portal client never does that."
)
_GRANIAN = (
    "granian: WSGI, one worker process, with its default of 512 threads and with one thread. nginx: a worker process "
    "for each processor, no Python."
)
_PINNED = (
    "The minimal server has a thread for each connection. The threads pass the interpreter lock between processors, "
    "which costs most of its time. Bound to one processor, or in one thread, it shows what it can do."
)
_NO_WRK = (
    "Load: a generator in Python with 16 connections, as wrk is not installed. It is not faster than the fastest "
    "servers, which narrows the ratios. So the ratios to the minimal server, granian and nginx have no target."
)

Measure = Callable[[Contestant, str], float]


def compare(parts: Iterable[int], rounds: int, seconds: int) -> Iterator[Part]:
    """Yield the parts by number, each one as soon as it is measured."""
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
            _with_wrk("Falcon+msgspec on granian", 1.1),
            _with_wrk("Falcon+msgspec on granian, one thread", 1.1),
            _with_wrk("nginx, a constant", 0.3),
            _with_wrk("minimal server", 0.7),
            Target(_PORTAL, "minimal server, one processor"),
            Target(_PORTAL, "minimal server, one thread"),
        ),
    )
    part.notes.append(_WRK if has_wrk() else _NO_WRK)
    part.notes.append(_GRANIAN)
    part.notes.append(_PINNED)
    _by_turns(part, SERVERS, rounds, _warm_up, _rate(seconds))
    return part


def _with_wrk(peer: str, bound: float) -> Target:
    """Return the target against a peer that is too fast for the generator in Python."""
    return Target(_PORTAL, peer, ">=", bound) if has_wrk() else Target(_PORTAL, peer)


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
        "Protected: JWT, a rate limit for each identity, call counters and a log file, written every 50 ms."
    )
    part.notes.append(
        "Log unbuffered: the same, with each line written at once. Everything: this with security headers and CORS. "
        "FastAPI has none of it."
    )
    _by_turns(part, PROTECTED, rounds, _warm_up, _rate(seconds))
    return part


def _warm_up(contestant: Contestant, url: str) -> None:
    check_server(url, contestant, contestant.headers())
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
            Target("Portal, an Address", _PORTAL, ">=", 0.8),
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
    part.notes.append(
        "Portal: one Consumer for all threads. The target is for one rpyc connection, shared by all threads."
    )
    part.notes.append("rpyc: with the method kept.")
    _by_turns(part, THREADED, rounds, _nothing, _calls(seconds, _THREADS))
    return part


def _local(rounds: int, seconds: int) -> Part:
    return compare_local(repeats=5 * rounds)


def _objects(rounds: int, seconds: int) -> Part:
    return compare_objects(repeats=5 * rounds)


def _tls_servers(rounds: int, seconds: int) -> Part:
    part = Part(
        "Part 7: servers over TLS, 16 connections",
        "requests/s, median",
        (
            _with_wrk("Falcon+msgspec on granian", 0.8),
            _with_wrk("Falcon+msgspec on granian, one thread", 0.8),
        ),
    )
    part.notes.append(_WRK if has_wrk() else _NO_WRK)
    if has_wrk() and find_spec("trustme"):  # the generator in Python has no TLS
        certificate_files()
        _by_turns(part, TLS_SERVERS, rounds, _warm_up, _rate(seconds))
    return part


def _tls_clients(rounds: int, seconds: int) -> Part:
    threaded = f"{_PORTAL}, {_THREADS} threads"
    part = Part(
        "Part 8: one client over TLS",
        "calls/s, median",
        (Target(_PORTAL, "http.client", ">=", 0.9), Target(threaded, _PORTAL, ">=", 1.5)),
    )
    part.notes.append("http.client checks nothing but the certificate. All call the same server.")
    if find_spec("trustme"):
        certificate_files()
    _by_turns(part, TLS_CLIENTS, rounds, _nothing, _calls(seconds, 1))
    return part


def _streams(rounds: int, seconds: int) -> Part:
    part = Part(
        f"Part 9: a stream of {ITEMS:,} numbers, and {ROWS:,} rows of objects",
        "items or rows/s, median",
        (
            Target("Portal, a stream", "Flask, a stream", ">=", 1.0),
            Target("Portal, rows", "Flask, rows", ">=", 1.0),
            Target("Portal, rows as dataclasses", "Flask, rows"),
        ),
    )
    part.notes.append(
        "Flask: with waitress, called by requests, a stream by iter_lines and json.loads. It checks nothing. Portal "
        "checks each item and row, on both sides."
    )
    calls = _calls(seconds, 1)

    def measure(contestant: Contestant, target: str) -> float:
        return calls(contestant, target) * (ITEMS if "stream" in contestant.client else ROWS)

    _by_turns(part, STREAMS, rounds, _nothing, measure)
    return part


def _orders(rounds: int, seconds: int) -> Part:
    both = "Portal on both sides"
    part = Part(
        f"Part 10: an order of {LINES} dataclasses over HTTP, in and out",
        "calls/s, median",
        (
            Target(_PORTAL, "pydantic, Flask+waitress", ">=", 1.0),
            Target(_PORTAL, "FastAPI+uvicorn", ">=", 1.0),
            Target(both, "pydantic on both sides", ">=", 1.0),
        ),
    )
    part.notes.append(
        "Servers: the client is http.client, and converts nothing. Flask: pydantic makes the objects of the JSON text "
        "in one pass. Both sides: the client makes objects of the result, Portal's or requests with pydantic."
    )
    _by_turns(part, ORDERS, rounds, _nothing, _calls(seconds, 1))
    return part


_PARTS: dict[int, Callable[[int, int], Part]] = {
    1: _servers,
    2: _sequential,
    3: _threaded,
    4: _local,
    5: _protected,
    6: _objects,
    7: _tls_servers,
    8: _tls_clients,
    9: _streams,
    10: _orders,
}


def _calls(seconds: int, threads: int) -> Measure:
    return lambda contestant, target: call_rate(contestant.client, target, seconds, contestant.threads or threads)


def _nothing(contestant: Contestant, target: str) -> None:
    """Prepare nothing, as clients check the result and warm up by themselves."""


def _by_turns(
    part: Part,
    contestants: tuple[Contestant, ...],
    rounds: int,
    prepare: Callable[[Contestant, str], object],
    measure: Measure,
) -> None:
    """Start the server of every contestant, then measure one after the other, round by round.

    The other servers are idle meanwhile. Each round begins with another contestant.
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
    """Measure and print tables. The exit status is 0 even when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant (3)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a turn (3)")
    parser.add_argument("--part", type=int, action="append", choices=sorted(_PARTS), help="only this part; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as JSON")
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
