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

from .processor_time import ProcessorTime

__all__ = ["LOOK", "FirstRequest", "FirstRequests", "time_of_thread"]

LOOK = 0.01  # seconds after which a running first request tells what the others will cost


class FirstRequest:
    """The first request of a path, while the others wait for it."""

    __slots__ = ("began", "path", "since", "thread")

    def __init__(self, path: Hashable) -> None:
        self.path = path
        self.since = inf  # the moment at which it began to run
        self.began = 0.0  # the processor time of its thread then
        self.thread = 0

    def start(self, now: float) -> None:
        """Note that it runs from now on, in this thread."""
        self.thread, self.began = get_native_id(), time.thread_time()
        self.since = now


class FirstRequests:
    """The first requests of paths that are being served.

    Args:
        times: what is known of the paths.
        time_of: returns the processor time of a thread by its native id, or None if the system does not tell it.

    Threads: one at a time, but `FirstRequest.start` is for the thread that runs the request.
    """

    def __init__(self, times: ProcessorTime, time_of: Callable[[int], float | None] | None = None) -> None:
        self._times = times
        self._time_of = time_of or time_of_thread
        self._running: dict[Hashable, FirstRequest] = {}  # by path

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, path: Hashable) -> FirstRequest | None:
        """Return what the first request of a path carries while it runs; None if one is running."""
        if path in self._running:
            return None
        first = self._running[path] = FirstRequest(path)
        return first

    def end(self, first: FirstRequest) -> None:
        """Note the end of a first request, whether or not it has run."""
        if self._running.get(first.path) is first:
            del self._running[first.path]

    def look(self, now: float) -> bool:
        """Judge the paths by the requests that have run for LOOK seconds. Return whether there was one."""
        found = [first for first in self._running.values() if first.since + LOOK <= now]
        for first in found:
            # Without the time of the thread, it is taken for one that waits, as most do that last.
            spent = self._time_of(first.thread)
            self._times.suppose(first.path, 0.0 if spent is None else spent - first.began)
            del self._running[first.path]
        return bool(found)


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
