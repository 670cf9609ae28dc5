"""BusyPoll: looks for the next event for a moment before it sleeps, while events come that fast.

A thread that sleeps costs two switches and comes back to cold caches: beside a call of 30 us that is most of the time.
The kernel does the same for network cards (SO_BUSY_POLL in socket(7)), but not for loopback.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ["BusyPoll"]

_WEIGHT = 1 / 8  # of the latest wait in the usual one
_LONG = 4.0  # times the limit: what a longer wait counts as, so that one pause changes nothing and two do


class BusyPoll:
    """Waits for events, without sleeping as long as they usually come within `limit` seconds.

    Args:
        poll: the events that are there after at most so many seconds; empty when there are none.
        limit: seconds to look for before sleeping; 0 always sleeps.

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
        """The events that are there after at most `timeout` seconds.

        Args:
            alone: whether no other thread of this process has work to do, which looking would hold up.
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
