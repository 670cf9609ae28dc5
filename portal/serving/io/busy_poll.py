"""BusyPoll: polls for the next event for a moment before it sleeps, as long as events come that fast.

To sleep costs a thread two context switches and its caches, which is more than a call of 30 us takes. The kernel does
the same for network cards (SO_BUSY_POLL in socket(7)), but not for loopback.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ["BusyPoll"]

_WEIGHT = 1 / 8  # of the latest wait in the average
_LONG = 4.0  # times the limit. A longer wait counts as this, so that one pause changes nothing and two pauses do.


class BusyPoll:
    """Waits for events. It does not sleep as long as they usually come within `limit` seconds.

    Args:
        poll: waits for at most the given seconds and returns the events, or an empty list.
        limit: seconds for which it polls before it sleeps; 0 always sleeps.

    Threads: one at a time.
    """

    __slots__ = ("_clock", "_limit", "_longest", "_poll", "_usual")

    def __init__(
        self, poll: Callable[[float], list[Any]], limit: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._poll = poll
        self._limit = limit
        self._longest = self._usual = _LONG * limit
        self._clock = clock

    def wait(self, timeout: float, alone: bool) -> list[Any]:
        """Wait for at most `timeout` seconds and return the events.

        Args:
            alone: whether no other thread of this process has work to do. Busy polling would slow that thread down.
        """
        if not self._limit:
            return self._poll(timeout)
        began = self._clock()
        events: list[Any] = []
        if alone and self._usual < self._limit:
            end = began + min(self._limit, timeout)
            events = self._poll(0.0)
            while not events and self._clock() < end:
                events = self._poll(0.0)
        if not events:
            events = self._poll(timeout)
        self._usual += (min(self._clock() - began, self._longest) - self._usual) * _WEIGHT
        return events
