"""LatencyTracker: finds the calls that are quick enough to be served by the thread that reads them.

The reading thread measures the time of a call exactly. A worker measures more as soon as workers wait for each other,
mostly for the interpreter's lock. So only the shortest time of a worker counts. Otherwise a busy moment would make all
calls look slow, and calls that look slow go to workers and keep them busy.

    unknown or slow -> (a worker took less than QUICK) -> quick -> (the reading thread took longer) -> slow for a while
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from time import monotonic

__all__ = ["QUICK", "STUCK", "LatencyTracker"]

QUICK = 250e-6  # seconds, about the cost of handing a call to a worker
STUCK = 5e-3  # seconds after which other clients have waited too long
_MAX_SAMPLE = 8 * QUICK  # a longer call counts as this, so that one pause of the machine does not make a call slow
_WEIGHT = 1 / 16  # of the latest call in the average
_PAUSE, _MAX_PAUSE = 0.05, 30.0  # seconds for which a slow call goes to workers only
_SOON = 8  # times the pause. A call that is slow again within that time gets twice the pause, unless that is rare.
_RARE = 1000  # calls; if so many were quick in between, the machine may have paused, as busy ones do all the time
_UNKNOWN = float("inf")  # the usual time of a call that no worker has served yet, or since it was slow


class _Latency:
    __slots__ = ("inline", "pause", "until", "usual")

    def __init__(self) -> None:
        self.usual = _UNKNOWN
        self.until = self.pause = 0.0
        self.inline = 0  # calls in the reading thread since the last pause


class LatencyTracker:
    """The usual time of calls, by key.

    Args:
        max_keys: number of keys. When there are more, all are forgotten.

    Threads: any; `is_quick` takes no lock.
    """

    def __init__(self, max_keys: int = 4096, clock: Callable[[], float] = monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()  # guards changes of the table and of what it holds
        self._latencies: dict[Hashable, _Latency] = {}

    def is_quick(self, key: Hashable) -> bool:
        """Return whether a call usually takes less than QUICK."""
        latency = self._latencies.get(key)
        return latency is not None and latency.usual < QUICK and (not latency.until or latency.until <= self._clock())

    def served_by_worker(self, key: Hashable, seconds: float) -> None:
        """Note the time of a call that a worker has served."""
        with self._lock:
            latency = self._latencies.get(key)
            if latency is None:
                if len(self._latencies) >= self._max_keys:
                    self._latencies.clear()
                latency = self._latencies[key] = _Latency()
            latency.usual = min(latency.usual, seconds)

    def served_inline(self, key: Hashable, seconds: float) -> None:
        """Note the time of a call that the reading thread has served."""
        latency = self._latencies.get(key)
        if latency is None:
            return
        with self._lock:
            if latency.usual == _UNKNOWN:
                return  # sent away already, by the thread that watches
            latency.inline += 1
            latency.usual += ((seconds if seconds < _MAX_SAMPLE else _MAX_SAMPLE) - latency.usual) * _WEIGHT
            if seconds >= STUCK or latency.usual >= QUICK:
                self._send_away(latency)

    def _send_away(self, latency: _Latency) -> None:
        now = self._clock()
        if now < latency.until:
            return
        again = latency.pause and now < latency.until + _SOON * latency.pause and latency.inline < _RARE
        latency.inline = 0
        latency.pause = min(2 * latency.pause, _MAX_PAUSE) if again else _PAUSE
        latency.until = now + latency.pause  # before `usual`, as `is_quick` takes no lock
        latency.usual = _UNKNOWN  # until a worker is quicker
