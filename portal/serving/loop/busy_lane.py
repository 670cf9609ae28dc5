"""BusyLane: lets few processor-bound requests run at a time. It runs nothing.

More computing threads than processors gain nothing, and each one delays all requests of other clients. So those that
compute go through the lane one after the other, and the clients take turns. A request that computes for long leaves the
lane while it runs on, so that it does not hold up short ones. So does one that waits, for example for a database.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ...errors import OverloadedError
from .thread_clock import ThreadClock

__all__ = ["MAX_TURN", "BusyLane", "Pass"]

Job = TypeVar("Job")

MAX_TURN = 0.5  # seconds after which a running request no longer counts
_MAX_UNKNOWN = 0.05  # seconds, likewise where the system does not tell whether it waits
_IDLE = 0.02  # share of the time; a thread that computes has more, also beside some others that compute


class Pass:
    """The place of one running request in the lane.

    Attributes:
        since: the moment from which it counts.
    """

    __slots__ = ("_clock", "_looked", "since")

    def __init__(self, since: float) -> None:
        self.since = self._looked = since
        self._clock: ThreadClock | None = None

    def start(self, now: float, clock: ThreadClock) -> None:
        """Note that its request runs from now on, in the thread of the clock."""
        self._looked, self._clock = now, clock

    def waits(self, now: float) -> bool:
        """Return whether its thread has hardly computed since the last call."""
        if self._clock is None:
            return False
        spent, seconds = self._clock.spent(), now - self._looked
        if spent is None:  # the system does not tell it
            return self.since + _MAX_UNKNOWN <= now
        self._looked = now
        return spent < seconds * _IDLE


class BusyLane(Generic[Job]):
    """The processor-bound jobs that run and wait.

    Args:
        places: jobs that run at a time.
        queue: jobs that may wait.
        queue_per_client: jobs of one client that may wait.

    Attributes:
        rejected: jobs that could not wait.

    Threads: one at a time.
    """

    def __init__(self, places: int, queue: int, queue_per_client: int) -> None:
        self.places = places
        self.rejected = 0
        self._queue = queue
        self._queue_per_client = queue_per_client
        self._running: set[Pass] = set()
        self._idle: set[Pass] = set()  # they run, but waited for something at the last look
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()  # by client; the first is next
        self._count = 0

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return self._count

    @property
    def running(self) -> int:
        """The number of jobs that count as running."""
        return len(self._running)

    def enter(self, client: str, job: Job, now: float) -> Pass | None:
        """Add a job. Return its pass if it may run at once; otherwise it waits.

        Raises: OverloadedError if it may not wait either.
        """
        if len(self._running) < self.places:  # then nothing waits
            ticket = Pass(now)
            self._running.add(ticket)
            return ticket
        jobs = self._waiting.get(client)
        if self._count >= self._queue or (jobs is not None and len(jobs) >= self._queue_per_client):
            self.rejected += 1
            raise OverloadedError(f"{self._count} calls that compute are waiting", retry_after=1.0)
        if jobs is None:
            jobs = self._waiting[client] = deque()
        jobs.append(job)
        self._count += 1
        return None

    def leave(self, ticket: Pass, now: float) -> list[tuple[Job, Pass]]:
        """Note the end of a job. Return the waiting jobs that run from now on. A pass may be given back twice."""
        self._running.discard(ticket)
        self._idle.discard(ticket)
        return self._admit_waiting(now)

    def pass_long(self, now: float) -> list[tuple[Job, Pass]]:
        """Stop counting the jobs that have run for long. Return the waiting jobs that run from now on."""
        self._running = {one for one in self._running if one.since + MAX_TURN > now}
        self._idle = {one for one in self._idle if one.since + MAX_TURN > now}
        return self._admit_waiting(now)

    def look(self, now: float, *, lets_in: bool) -> list[tuple[Job, Pass]]:
        """Count the running jobs that compute, and not those that wait for something.

        Args:
            lets_in: whether a job that waits stops counting. One that computes again counts again in any case.

        Returns: the waiting jobs that run from now on.
        """
        idle = {one for one in self._running | self._idle if one.waits(now)}
        if not lets_in:
            idle &= self._idle
        self._running, self._idle = (self._running | self._idle) - idle, idle
        return self._admit_waiting(now)

    def take_back(self, is_due: Callable[[Job], bool]) -> list[Job]:
        """Remove the waiting jobs that are due, and return them."""
        judged = [(client, [(job, is_due(job)) for job in jobs]) for client, jobs in self._waiting.items()]
        due: list[Job] = []
        for client, found in judged:  # nothing is changed before `is_due` can fail no more
            taken = [job for job, is_taken in found if is_taken]
            if not taken:
                continue
            due += taken
            self._count -= len(taken)
            if len(taken) == len(found):
                del self._waiting[client]
            else:
                self._waiting[client] = deque(job for job, is_taken in found if not is_taken)
        return due

    def _admit_waiting(self, now: float) -> list[tuple[Job, Pass]]:
        # All passes are made first: an exception then leaves the jobs where they are.
        passes = [Pass(now) for _ in range(min(self._count, self.places - len(self._running)))]
        admitted = []
        for ticket in passes:
            client, jobs = self._waiting.popitem(last=False)
            self._running.add(ticket)
            admitted.append((jobs.popleft(), ticket))
            self._count -= 1
            if jobs:
                self._waiting[client] = jobs  # behind the other clients
        return admitted
