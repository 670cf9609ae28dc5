"""FirstRequests: of a path whose cost is not known yet, one request runs first.

The others for this path wait until it has ended, or has run for LOOK seconds and its processor time tells what they
will cost. Else many requests that arrive at once, before any of them has ended, would all compute at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Generic, TypeVar

from ...errors import OverloadedError
from .processor_time import ProcessorTime
from .thread_clock import ThreadClock, time_of_thread

__all__ = ["LOOK", "FirstRequest", "FirstRequests"]

Job = TypeVar("Job")

LOOK = 0.01  # seconds after which a running first request tells what the others will cost


class FirstRequest(Generic[Job]):
    """A running request of a path that nothing is known of.

    Attributes:
        waiting: the jobs that wait for it.
    """

    __slots__ = ("clock", "path", "since", "waiting")

    def __init__(self, path: Hashable, now: float, clock: ThreadClock) -> None:
        self.path = path
        self.since = now
        self.clock = clock
        self.waiting: list[Job] = []


class FirstRequests(Generic[Job]):
    """The first requests of paths that are being served, and the jobs that wait for them.

    A request becomes the first one when its thread begins to serve it. One that still waits for a worker would make the
    others wait, too, though they may be of clients that have workers.

    Args:
        times: what is known of the paths.
        queue: jobs that may wait.
        time_of: returns the processor time of a thread; see `ThreadClock`.

    Threads: one at a time. `begin` is for the thread that runs the request.
    """

    def __init__(
        self, times: ProcessorTime, queue: int, time_of: Callable[[int], float | None] = time_of_thread
    ) -> None:
        self._times = times
        self._queue = queue
        self._time_of = time_of
        self._running: dict[Hashable, FirstRequest[Job]] = {}  # by path
        self._count = 0

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return self._count

    def begin(self, path: Hashable, job: Job, now: float) -> FirstRequest[Job] | None:
        """Return the first request of a path, which runs in this thread. If another one is running, the job waits.

        Raises: OverloadedError if it may not wait.
        """
        running = self._running.get(path)
        if running is None:
            first = self._running[path] = FirstRequest(path, now, ThreadClock(self._time_of))
            return first
        if self._count >= self._queue:
            raise OverloadedError(f"{self._count} calls wait for the first one of their function", retry_after=1.0)
        running.waiting.append(job)
        self._count += 1
        return None

    def end(self, first: FirstRequest[Job]) -> list[Job]:
        """Note the end of a first request. Return the jobs that have waited for it."""
        return self._end_all([first])

    def _end_all(self, ended: list[FirstRequest[Job]]) -> list[Job]:
        jobs: list[Job] = []
        for first in ended:  # nothing here can fail, so that no job is lost
            if self._running.get(first.path) is first:
                del self._running[first.path]
                self._count -= len(first.waiting)
                jobs += first.waiting
        return jobs

    @property
    def look_at(self) -> float:
        """The moment at which to call `look`."""
        return min((first.since + LOOK for first in self._running.values() if first.waiting), default=inf)

    def look(self, now: float) -> list[Job]:
        """Judge the paths by the requests that have run for LOOK seconds. Return the jobs that have waited for them."""
        found = [first for first in self._running.values() if first.since + LOOK <= now]
        for first in found:
            # Without the time of the thread, it is taken for one that waits, as most do that last.
            self._times.suppose(first.path, first.clock.spent() or 0.0)
        return self._end_all(found)

    def take_back(self, is_due: Callable[[Job], bool]) -> list[Job]:
        """Remove the waiting jobs that are due, and return them."""
        judged = [(first, [(job, is_due(job)) for job in first.waiting]) for first in self._running.values()]
        due: list[Job] = []
        for first, found in judged:  # nothing is changed before `is_due` can fail no more
            due += [job for job, is_taken in found if is_taken]
            first.waiting = [job for job, is_taken in found if not is_taken]
        self._count -= len(due)
        return due
