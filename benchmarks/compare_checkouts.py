"""Compare this checkout of Portal with another one: `python -m benchmarks.compare_checkouts OTHER_CHECKOUT`.

The other checkout is `before` and this one is `after`. Both are measured in turn within one run. Each one runs its own
`benchmarks.servers`, `benchmarks.clients`, `benchmarks.local` and `benchmarks.workload` with its own `portal`, so the
interfaces of the two may differ. A row that one of them does not have is skipped. All rows are speeds: for times the
ratio is before/after.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from statistics import mean, median, quantiles

from .contestants import PROTECTED, ROOT, SERVERS, Contestant, call_rate, check_server, run_code, serving
from .load import has_wrk, request_rate
from .machine import OthersClock, surroundings
from .report import table

__all__ = ["Row", "compare", "main"]

_SIDES = ("before", "after")
_THREADS = 16
_FAILURES = (OSError, RuntimeError, ValueError, subprocess.SubprocessError)
_AUTHORIZATION = "import json; from benchmarks.workload import authorization; print(json.dumps(authorization()))"
_LOCAL = (
    "import json; from benchmarks.local import compare_local; rounds = compare_local(repeats={repeats}).rounds; "
    "print(json.dumps({{name: min(figures) for name, figures in rounds.items()}}))"
)


@dataclass
class Row:
    """The figures of one measurement.

    Attributes:
        name, unit: cells of the table.
        is_time: whether a figure is a time, so that a lower one is better.
        before, after: the figures, one a round.
    """

    name: str
    unit: str
    is_time: bool = False
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        """Return the speed of `after` relative to `before`, by their medians."""
        return self._speed(median(self.before), median(self.after))

    def round_ratios(self) -> list[float]:
        """Return the speed of `after` relative to `before` in each round."""
        return [self._speed(*pair) for pair in zip(self.before, self.after, strict=True)]

    def _speed(self, before: float, after: float) -> float:
        return before / after if self.is_time else after / before

    def cells(self, bound: float) -> tuple[str, ...]:
        """Return the cells of the table."""
        low, _, high = quantiles(self.round_ratios(), n=4) if len(self.before) > 1 else [self.ratio()] * 3
        figures = (f"{median(side):,.0f}" for side in (self.before, self.after))
        met = "yes" if self.ratio() >= bound else "no"
        return self.name, self.unit, *figures, f"{self.ratio():.3f}", f"{low:.3f} .. {high:.3f}", met


@dataclass(frozen=True)
class _Task:
    """Something to measure in both checkouts.

    Attributes:
        name: for `--only`.
        start: takes the root of a checkout and starts its server; gives the target.
        measure: takes the root and the target, and returns figures by row.
        unit, is_time: as of the rows.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[str]]
    measure: Callable[[Path, str], dict[str, float]]
    unit: str
    is_time: bool = False


def _tasks(seconds: int) -> tuple[_Task, ...]:
    servers = [one for one in (*SERVERS, *PROTECTED) if one.name.startswith("Portal")]
    return (
        *(_server_task(contestant, seconds) for contestant in dict.fromkeys(servers)),
        _client_task("sequential client", "portal", seconds, 1),
        _client_task("sequential client, Address", "portal-address", seconds, 1),
        _client_task(f"client with {_THREADS} threads", "portal", seconds, _THREADS),
        _Task("local call", _no_server, partial(_local, repeats=5 * seconds), "ns a call", is_time=True),
    )


def _server_task(contestant: Contestant, seconds: int) -> _Task:
    def measure(root: Path, url: str) -> dict[str, float]:
        headers = _authorization(root) if contestant.protected else {}
        check_server(url, contestant, headers)
        return {name: request_rate(url, seconds, headers)}

    name = f"server: {contestant.name}"
    return _Task(name, partial(_serving, contestant.server), measure, "requests/s")


def _client_task(name: str, client: str, seconds: int, threads: int) -> _Task:
    def measure(root: Path, target: str) -> dict[str, float]:
        return {name: call_rate(client, target, seconds, threads, root)}

    return _Task(name, partial(_serving, "portal"), measure, "calls/s")


def _serving(server: str, root: Path) -> AbstractContextManager[str]:
    return serving(server, root)


def _no_server(root: Path) -> AbstractContextManager[str]:
    return nullcontext("")


def _local(root: Path, target: str, *, repeats: int) -> dict[str, float]:
    figures: dict[str, float] = json.loads(run_code(_LOCAL.format(repeats=repeats), timeout=120.0, root=root))
    return {
        f"local: {name}": figure for name, figure in figures.items() if "pydantic" not in name and "itself" not in name
    }


@cache
def _authorization(root: Path) -> Mapping[str, str]:
    """Return the header that the protected server of a checkout accepts."""
    headers: dict[str, str] = json.loads(run_code(_AUTHORIZATION, timeout=30.0, root=root))
    return headers


def compare(
    before: Path, after: Path, *, rounds: int, seconds: int, only: tuple[str, ...] = ()
) -> Iterator[Row | tuple[str, str]]:
    """Yield each row as soon as it is measured, and (name, reason) for what is skipped.

    Args:
        before, after: the roots of the checkouts.
        only: parts of the names of the tasks to run; empty for all.
    """
    for task in _tasks(seconds):
        if only and not any(part in task.name for part in only):
            continue
        try:
            yield from _rows(task, before, after, rounds)
        except _FAILURES as error:
            yield task.name, str(error)


def _rows(task: _Task, before: Path, after: Path, rounds: int) -> Iterator[Row | tuple[str, str]]:
    found: dict[str, Row] = {}
    for number in range(rounds):
        # Each round has servers of its own: two processes of the same code differ by up to a third.
        with task.start(before) as one, task.start(after) as other:
            sides = [("before", before, one), ("after", after, other)]
            for side, root, target in sides:
                _measured(task, side, root, target)  # warms up
            first, second = sides if number % 2 else reversed(sides)
            turns = [
                (side, _measured(task, side, root, target)) for side, root, target in (first, second, second, first)
            ]
        for side in _SIDES:
            # The mean of turns in the order ABBA: the speed of the machine changes by a third within minutes.
            figures = [figures for name, figures in turns if name == side]
            for name in figures[0]:
                row = found.setdefault(name, Row(name, task.unit, task.is_time))
                getattr(row, side).append(mean(each[name] for each in figures))
    for row in found.values():
        if len(row.before) == len(row.after) == rounds:
            yield row
        else:
            yield row.name, f"only {'before' if row.before else 'after'} has it"


def _measured(task: _Task, side: str, root: Path, target: str) -> dict[str, float]:
    try:
        return task.measure(root, target)
    except _FAILURES as error:
        raise RuntimeError(f"{side}: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    """Measure and print a table. The exit status is 0 even when a ratio is below the bound."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare_checkouts", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("before", type=Path, metavar="OTHER_CHECKOUT", help="root of the checkout to compare with")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of two turns of each checkout (10)")
    parser.add_argument("--seconds", type=int, default=1, help="length of a turn (1)")
    parser.add_argument("--bound", type=float, default=0.97, help="the least ratio that is good enough (0.97)")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only rows with TEXT; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as JSON")
    options = parser.parse_args(arguments)
    before: Path = options.before.resolve()
    if not (before / "benchmarks" / "servers.py").is_file():
        parser.error(f"OTHER_CHECKOUT must be the root of a checkout with benchmarks/servers.py, got {before}")
    conditions = surroundings()
    print("\n".join(f"{name}: {value}" for name, value in conditions.items()))
    print(f"{options.rounds} rounds of {options.seconds} s, load: {'wrk -t2 -c16' if has_wrk() else 'in Python'}\n")
    others = OthersClock()
    rows, skipped = [], []
    compared = compare(before, ROOT, rounds=options.rounds, seconds=options.seconds, only=tuple(options.only))
    for found in compared:
        if isinstance(found, Row):
            rows.append(found)
            print(f"{found.name}: {found.ratio():.3f}", flush=True)
        else:
            skipped.append(found)
    heading = ("row", "unit", "before", "after", "ratio of medians", "half of the rounds", f">= {options.bound:g}")
    print("\n" + "\n".join(table((heading, *(row.cells(options.bound) for row in rows)))))
    for name, reason in skipped:
        print(f"{name} is skipped: {reason}")
    busy = others.busy()
    if busy is not None:
        print(f"Other processes kept {busy:.2f} processors busy meanwhile.")
    if options.json is not None:
        figures = [{"ratio": row.ratio(), **vars(row)} for row in rows]
        options.json.write_text(json.dumps(conditions | {"rows": figures, "skipped": skipped}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
