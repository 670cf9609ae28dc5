"""Measure when a process stood still: on a busy machine nothing of it runs for a while, which is not its own fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic

__all__ = ["Interval", "Stalls", "overlap"]

Interval = tuple[float, float]  # moments of `time.monotonic`, which all processes of a Linux system share

_STEP = 0.01  # seconds between two looks
_LATE = 0.03  # seconds by which a look may come late


class Stalls:
    """A thread that wants to look 100 times a second, and notes when it could not.

    Args:
        look: takes no time on a machine that is not busy, such as a call of a server that has no faults.

    Attributes:
        intervals: in which it could not.

    Threads: any.
    """

    def __init__(self, look: Callable[[], object] = bool) -> None:
        self._do = look
        self.intervals: list[Interval] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        due = monotonic() + _STEP
        while not self._over.wait(_STEP):
            self._do()
            now = monotonic()
            if now > due + _LATE:
                self.intervals.append((due, now))
            due = now + _STEP

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()


def overlap(intervals: Iterable[Interval], begin: float, end: float) -> float:
    """Return for how many seconds between two moments at least one of the intervals lasted."""
    total, reached = 0.0, begin
    for start, stop in sorted(intervals):
        start, stop = max(start, reached), min(stop, end)
        if stop > start:
            total += stop - start
            reached = stop
    return total
