"""ThreadClock, ProcessClock: how much a running thread, or the process, computes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import get_native_id

__all__ = ["ProcessClock", "ThreadClock", "time_of_thread"]


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


class ThreadClock:
    """Tells how much a thread computes. Make it in the thread.

    Args:
        time_of: returns the processor time of a thread by its native id, or None.

    Threads: one at a time.
    """

    __slots__ = ("_last", "_thread", "_time_of")

    def __init__(self, time_of: Callable[[int], float | None] = time_of_thread) -> None:
        self._thread = get_native_id()
        self._time_of = time_of
        self._last = time.thread_time()

    def spent(self) -> float | None:
        """Return the seconds since the last call, or since the start; None if the system does not tell them."""
        now = self._time_of(self._thread)
        if now is None:
            return None
        spent, self._last = now - self._last, now
        return spent


class ProcessClock:
    """Tells which share of the time the process has computed; 2.0 if it kept two processors busy.

    Threads: one at a time.
    """

    __slots__ = ("_at", "_spent")

    def __init__(self) -> None:
        self._at, self._spent = time.monotonic(), time.process_time()

    def share(self, now: float) -> float:
        """Return the share since the last call, or since the start."""
        spent = time.process_time()
        share = (spent - self._spent) / max(now - self._at, 1e-6)
        self._at, self._spent = now, spent
        return share
