"""The time that statements take in this process, measured in turn."""

from __future__ import annotations

import timeit
from collections.abc import Mapping
from typing import Any

__all__ = ["time_by_turns"]

_TURN_SECONDS = 0.02


def time_by_turns(
    statements: Mapping[str, str], scope: Mapping[str, Any], *, repeats: int = 15
) -> dict[str, list[float]]:
    """Return the nanoseconds a run of each statement, one figure a repeat.

    In every repeat each statement runs for about 20 ms, so that a disturbance of the machine disturbs all alike. The
    least figure is the one to compare. No function wraps the statements, as its call would count.

    Args:
        statements: Python source by name.
        scope: the names that the statements use.
    """
    timers = {name: timeit.Timer(source, globals=dict(scope)) for name, source in statements.items()}
    runs = {name: _runs(timer) for name, timer in timers.items()}
    figures: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(repeats):
        for name, timer in timers.items():
            figures[name].append(timer.timeit(runs[name]) / runs[name] * 1e9)
    return figures


def _runs(timer: timeit.Timer) -> int:
    count = 100
    while (elapsed := timer.timeit(count)) < _TURN_SECONDS / 10:
        count *= 4
    return max(1, round(count * _TURN_SECONDS / elapsed))
