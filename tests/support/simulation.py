"""Callers of a group on a virtual clock: each calls again when its last call has ended."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import quantiles

from portal.consumer.group import InstanceGroup, Lease

from .clocks import Clock
from .instances import call_of

__all__ = ["Figures", "simulate"]


@dataclass
class Figures:
    """What the callers saw.

    Attributes:
        calls: calls by host.
        failed: the number of failed calls.
        seconds: the duration of each call.
    """

    calls: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    seconds: list[float] = field(default_factory=list)

    def share(self, host: str) -> float:
        """Return the share of the calls that a host got."""
        return self.calls.get(host, 0) / sum(self.calls.values())

    @property
    def p99(self) -> float:
        return quantiles(self.seconds, n=100)[98]


def simulate(
    group: InstanceGroup,
    clock: Clock,
    serve: Callable[[str, float], tuple[float, BaseException | None]],
    *,
    callers: int = 16,
    seconds: float = 60.0,
) -> Figures:
    """Make calls for a number of virtual seconds.

    Args:
        serve: callable (host, now) -> (duration, error or None) of a call.
    """
    figures = Figures()
    end = clock.now + seconds
    running: list[tuple[float, int, Lease, BaseException | None]] = []

    def begin(caller: int) -> None:
        lease = group.lease(call_of(caller=caller))
        assert lease is not None
        host = lease.candidate.address.host
        duration, error = serve(host, clock.now)
        figures.calls[host] = figures.calls.get(host, 0) + 1
        figures.seconds.append(duration)
        figures.failed += error is not None
        heapq.heappush(running, (clock.now + duration, caller, lease, error))

    for caller in range(callers):
        begin(caller)
    while running:
        clock.now, caller, lease, error = heapq.heappop(running)
        lease.done(error)
        if clock.now < end:
            begin(caller)
    assert group.stats().outstanding == 0
    return figures
