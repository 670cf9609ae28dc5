"""FirstRequests: of a path whose cost is not known yet, one request runs first.

The others for this path wait until it has ended, or has run for LOOK seconds and its processor time tells what they
will cost. Else many requests that arrive at once, before any of them has ended, would all compute at the same time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable
from math import inf
from threading import get_native_id

from .processor_time import BUSY, ProcessorTime

__all__ = ["LOOK", "FirstRequest", "FirstRequests", "time_of_thread"]

LOOK = 0.01  # seconds after which a running first request tells what the others will cost
_SHARE = 1 / 4  # of the time, for which one that computes has a processor. Other threads compute as well.


class FirstRequest:
    """A running request of a path that nothing is known of.

    Attributes:
        is_awaited: whether others wait for it.
    """

    __slots__ = ("began", "is_awaited", "path", "since", "thread")

    def __init__(self, path: Hashable, now: float) -> None:
        self.path = path
        self.since = now
        self.began = time.thread_time()  # the processor time of its thread at the start
        self.thread = get_native_id()
        self.is_awaited = False


class FirstRequests:
    """The first requests of paths that are being served.

    A request becomes the first one when its thread begins to serve it. One that still waits for a worker would make the
    others wait, too, though they may be of clients that have workers.

    Args:
        times: what is known of the paths.
        time_of: returns the processor time of a thread by its native id, or None if the system does not tell it.

    Threads: one at a time. `begin` is for the thread that runs the request.
    """

    def __init__(self, times: ProcessorTime, time_of: Callable[[int], float | None] | None = None) -> None:
        self._times = times
        self._time_of = time_of or time_of_thread
        self._running: dict[Hashable, FirstRequest] = {}  # by path

    def __contains__(self, path: Hashable) -> bool:
        """Return whether the first request of a path is running."""
        return path in self._running

    def begin(self, path: Hashable, now: float) -> FirstRequest | None:
        """Return the first request of a path, which runs in this thread. If another one is running, return None."""
        running = self._running.get(path)
        if running is not None:
            running.is_awaited = True
            return None
        first = self._running[path] = FirstRequest(path, now)
        return first

    def end(self, first: FirstRequest) -> None:
        """Note the end of a first request."""
        if self._running.get(first.path) is first:
            del self._running[first.path]

    @property
    def look_at(self) -> float:
        """The moment at which to call `look`."""
        return min((first.since + LOOK for first in self._running.values() if first.is_awaited), default=inf)

    def look(self, now: float) -> bool:
        """Judge the paths by the requests that have run for LOOK seconds. Return whether others wait for one."""
        found = [first for first in self._running.values() if first.since + LOOK <= now]
        for first in found:
            # Without the time of the thread, it is taken for one that waits, as most do that last.
            spent = self._time_of(first.thread)
            computes = spent is not None and spent - first.began > (now - first.since) * _SHARE
            self._times.suppose(first.path, 2 * BUSY if computes else 0.0)
            del self._running[first.path]
        return any(first.is_awaited for first in found)


def time_of_thread(native_id: int) -> float | None:
    """Return the seconds of processor time of a thread of this process; None if the system does not tell it.

    Source: clock_getres(2) of Linux, which makes the clock of a thread from its id. Unlike `time.pthread_getcpuclockid`
    this is safe for a thread that has ended.
    """
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime((~native_id << 3) | 6)  # CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED
    except OSError:
        return None
