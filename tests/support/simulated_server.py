"""A server of known capacity on a virtual clock, in front of which a limiter admits calls."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from .clocks import Clock

__all__ = ["Load", "Report", "simulate"]


class Load(NamedTuple):
    """Calls that come at equal intervals.

    Attributes:
        rate: calls a second.
        seconds: how long they come.
    """

    rate: float
    seconds: float


class Report(NamedTuple):
    """What the callers of one Load saw.

    Attributes:
        throughput: responses a second.
        rejected: the calls that were rejected.
        p99: of the durations of the others.
    """

    throughput: float
    rejected: int
    p99: float


def simulate(
    loads: list[Load],
    *,
    workers: int,
    seconds: float,
    clock: Clock,
    begin: Callable[[], Callable[[], object] | None],
) -> list[Report]:
    """Run calls through a server whose workers take the calls in turn; calls beyond its workers wait in it.

    Args:
        loads: what the callers do, one after the other.
        workers: the calls that run at a time.
        seconds: for which each call runs.
        clock: the clock, also of the limiter.
        begin: admits a call; returns what ends it, or None if the call is rejected.
    """
    free = [clock.now] * workers  # when each worker is free
    ends: list[tuple[float, int, float, Callable[[], object]]] = []
    reports, number = [], 0
    for load in loads:
        until = clock.now + load.seconds
        arrival, rejected, durations, answered = clock.now, 0, [], 0
        while arrival < until:
            while ends and ends[0][0] <= arrival:
                clock.now, _, came, end = heapq.heappop(ends)
                end()
                durations.append(clock.now - came)
                answered += 1
            clock.now = arrival
            finish = begin()
            if finish is None:
                rejected += 1
            else:
                start = max(arrival, heapq.heappop(free))
                heapq.heappush(free, start + seconds)
                number += 1
                heapq.heappush(ends, (start + seconds, number, arrival, finish))
            arrival += 1.0 / load.rate
        clock.now = until
        durations.sort()
        reports.append(Report(answered / load.seconds, rejected, durations[int(len(durations) * 0.99)]))
    return reports
