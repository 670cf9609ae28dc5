"""LatencyTracker: which calls usually take so little time that the thread that reads them may serve them itself.

What that thread measures is what a call takes. What a worker measures is more, as soon as workers wait for one another
(for the interpreter's lock, mostly), so of that only the least counts: otherwise a busy moment would make every call
look slow, and calls that go to workers because they look slow keep workers busy.

    unknown or slow -> (a worker did it in less than QUICK) -> quick -> (it took longer, here) -> slow for a while
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic

__all__ = ["QUICK", "LatencyTracker"]

QUICK = 250e-6  # seconds: about what handing a call to a worker costs
STUCK = 5e-3  # seconds after which the others have been kept waiting too long
_MOST = 8 * QUICK  # what a longer call counts as: one pause of the machine must not make a call slow
_WEIGHT = 1 / 16  # of the latest call
_PAUSE, _LONGEST = 0.05, 30.0  # seconds for which a call that was slow here is not tried here again
_SOON = 8  # times the pause: slow again within it doubles the pause


class _Pace:
    __slots__ = ("pause", "until", "usual")

    def __init__(self) -> None:
        self.usual = float("inf")
        self.until = self.pause = 0.0


class LatencyTracker:
    """The usual time of calls, by key.

    Args:
        most: how many keys are remembered; past it all are forgotten.

    Threads: any; a race loses one measurement.
    """

    def __init__(self, most: int = 4096, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._clock = clock
        self._latencies: dict[Hashable, _Pace] = {}

    def is_quick(self, key: Hashable) -> bool:
        """Whether a call usually takes less than QUICK."""
        pace = self._latencies.get(key)
        return pace is not None and pace.usual < QUICK and (not pace.until or pace.until <= self._clock())

    def served_by_worker(self, key: Hashable, seconds: float) -> None:
        """A worker has served such a call."""
        pace = self._latencies.get(key)
        if pace is None:
            if len(self._latencies) >= self._most:
                self._latencies.clear()
            pace = self._latencies[key] = _Pace()
        pace.usual = min(pace.usual, seconds)

    def served_here(self, key: Hashable, seconds: float) -> None:
        """The thread that reads has served such a call."""
        pace = self._latencies.get(key)
        if pace is None:
            return
        pace.usual += (min(seconds, _MOST) - pace.usual) * _WEIGHT
        if seconds >= STUCK or pace.usual >= QUICK:
            self._send_away(pace)

    def _send_away(self, pace: _Pace) -> None:
        now = self._clock()
        again = pace.pause and now < pace.until + _SOON * pace.pause
        pace.pause = min(2 * pace.pause, _LONGEST) if again else _PAUSE
        pace.until = now + pace.pause
        pace.usual = float("inf")  # until a worker shows otherwise
