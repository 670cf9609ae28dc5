"""JobQueue: decides which job may run. It knows no threads and runs nothing.

A job has keys, such as its function and its client. A key has limits: how many jobs with it may run, and how many may
wait. A job whose key is full waits, and jobs without that key overtake it. So do jobs whose function and client have
fewer running jobs. So one function, or one client, does not make the others wait.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

from ..errors import OverloadedError

__all__ = ["Job", "JobQueue", "Key", "KeyLimit", "Keys"]

Job = TypeVar("Job")

#: The kind of a key and its value: ("function", "billing/charge"), ("client", "192.0.2.7").
Key = tuple[str, str]
Keys = tuple[Key, ...]


class KeyLimit(NamedTuple):
    """The limits of each key of one kind; None means no limit.

    Attributes:
        running: jobs with one key that may run at a time.
        waiting: jobs with one key that may wait.
    """

    running: int | None = None
    waiting: int | None = None


class JobQueue(Generic[Job]):
    """The jobs that run and wait, in numbers.

    A job waits only if every place is taken, or if one of its keys is full. An abandoned job gives its place back while
    fewer than `spare` others have done so. Its keys count until it ends.

    Args:
        places: jobs that may run at a time; None means no limit.
        queue: jobs that may wait.
        limits: the limits of keys by kind. A kind without limits is not counted.
        spare: abandoned jobs that hold no place.

    Attributes:
        running: how many jobs run.
        limited: how often a key was full.

    Threads: one at a time.
    """

    def __init__(
        self, places: int | None, queue: int, limits: Mapping[str, KeyLimit] | None = None, *, spare: int = 0
    ) -> None:
        self.running = 0
        self.limited = 0
        self._places = places
        self._queue = queue
        self._spare = spare
        self._limits = dict(limits or {})
        self._number = count()
        self._waiting: OrderedDict[int, tuple[Job, Keys]] = OrderedDict()  # by age
        self._running_by_key: dict[Key, int] = {}
        self._waiting_by_key: dict[Key, int] = {}
        self._abandoned = 0
        self._abandoned_by_key: dict[Key, int] = {}
        self._full: set[Key] = set()  # keys with as many running jobs as may run

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return len(self._waiting)

    def counts(self, key: Key) -> tuple[int, int]:
        """Return how many jobs with a key run and wait."""
        return self._running_by_key.get(key, 0), self._waiting_by_key.get(key, 0)

    def add(self, job: Job, keys: Keys = ()) -> bool:
        """Add a job. Return whether it may run at once; otherwise it waits.

        Raises: OverloadedError if it may neither run nor wait, or if one of its keys is stalled.
        """
        if self.has_place and self._full.isdisjoint(keys):
            self._start(keys)
            return True
        blocked = next((key for key in keys if key in self._full), None)
        if blocked is not None:
            self.limited += 1
        if len(self._waiting) >= self._queue or self.is_stalled(keys):
            raise self._overloaded(blocked)
        for key in keys:
            limit = self._limits.get(key[0])
            if limit is not None and limit.waiting is not None and self.counts(key)[1] >= limit.waiting:
                self.limited += blocked is None
                raise _overloaded(f"{limit.waiting} calls of this {key[0]} are waiting", key)
        self._waiting[next(self._number)] = (job, keys)
        self._count(self._waiting_by_key, keys, 1)
        return False

    def turns(self, keys: Keys) -> tuple[Key | None, float]:
        """Return what a job with these keys would wait for, and for how many turns of it.

        A turn is the time in which all jobs that run end once.

        Returns: a full key, or None for a place; 0.0 turns for a job that could run at once, or if that is not known.
        Threads: any, without a lock: the numbers may be those of a moment ago.
        """
        for key in keys:
            if key in self._full:
                limit = self._limits[key[0]].running
                return key, (self.counts(key)[1] + 1) / max(1, limit or 1)
        if self._places is None or self.has_place or self._full:
            return None, 0.0
        return None, (len(self._waiting) + 1) / self._places

    def finish(self, keys: Keys = ()) -> list[Job]:
        """Note the end of a running job. Return the waiting jobs that run from now on."""
        self.running -= 1
        return self.release(keys)

    def hold(self, key: Key) -> None:
        """Count a key for a job that runs already. Raises: OverloadedError if the key is full."""
        if key in self._full:
            self.limited += 1
            raise self._overloaded(key)
        self._hold((key,))

    def release(self, keys: Keys) -> list[Job]:
        """Stop counting keys. Return the waiting jobs that run from now on."""
        self._count(self._running_by_key, keys, -1)
        self._full.difference_update(keys)  # a key is never above its limit
        return self._start_waiting()

    def _start_waiting(self) -> list[Job]:
        started: list[Job] = []
        while self._waiting and self.has_place:
            number = self._next_waiting()
            if number is None:
                break
            job, wanted = self._waiting[number]
            self._remove(number)
            self._start(wanted)
            started.append(job)
        return started

    def _next_waiting(self) -> int | None:
        """Return the number of the job that runs next: the oldest of those whose keys have the fewest running jobs."""
        found, fewest = None, 0
        for number, (_, keys) in self._waiting.items():
            if self._full.isdisjoint(keys):
                running = max((self._running_by_key.get(key, 0) for key in keys), default=0)
                if not running:
                    return number
                if found is None or running < fewest:
                    found, fewest = number, running
        return found

    @property
    def abandoned(self) -> int:
        """The number of running jobs that nobody waits for."""
        return self._abandoned

    def abandon(self, keys: Keys) -> list[Job]:
        """Note that nobody waits for a running job with these keys any more. `recover` ends that.

        Returns: the waiting jobs that run from now on.
        """
        self._abandoned += 1
        self._count(self._abandoned_by_key, keys, 1)
        return self._start_waiting()

    def recover(self, keys: Keys) -> None:
        """Forget an abandoned job, as it ends."""
        self._abandoned -= 1
        self._count(self._abandoned_by_key, keys, -1)

    def is_stalled(self, keys: Keys) -> bool:
        """Return whether a key, or every place, is taken by abandoned jobs.

        Nothing is known of when those end, so nothing waits for them.
        """
        if self._places is not None and self._abandoned >= self._places + self._spare:
            return True
        for key in keys:
            abandoned = self._abandoned_by_key.get(key)
            if abandoned is not None:
                limit = self._limits[key[0]].running
                if limit is not None and abandoned >= limit:
                    return True
        return False

    def snapshot(self) -> object:
        """Return the state, for `restore`."""
        counts = (self._running_by_key, self._waiting_by_key, self._abandoned_by_key)
        numbers = (self.running, self.limited, self._abandoned)
        return numbers, self._waiting.copy(), [one.copy() for one in counts], self._full.copy()

    def restore(self, state: Any) -> None:
        """Go back to a state, after an exception has interrupted a change."""
        (self.running, self.limited, self._abandoned), self._waiting, counts, self._full = state
        self._running_by_key, self._waiting_by_key, self._abandoned_by_key = counts

    def take_back(self, is_due: Callable[[Job], bool]) -> list[Job]:
        """Remove the waiting jobs that are due, and return them."""
        numbers = [number for number, (job, _) in self._waiting.items() if is_due(job)]
        return [self._remove(number) for number in numbers]

    @property
    def has_place(self) -> bool:
        """Whether a job without keys may run at once."""
        return self._places is None or self.running - min(self._abandoned, self._spare) < self._places

    def _start(self, keys: Keys) -> None:
        self.running += 1
        self._hold(keys)

    def _hold(self, keys: Keys) -> None:
        self._count(self._running_by_key, keys, 1)
        for key in keys:
            limit = self._limits.get(key[0])
            if limit is not None and limit.running is not None and self._running_by_key[key] >= limit.running:
                self._full.add(key)

    def _remove(self, number: int) -> Job:
        job, keys = self._waiting.pop(number)
        self._count(self._waiting_by_key, keys, -1)
        return job

    def _count(self, counts: dict[Key, int], keys: Keys, change: int) -> None:
        for key in keys:
            if key[0] not in self._limits:
                continue
            number = counts.get(key, 0) + change
            if number:
                counts[key] = number
            else:
                del counts[key]

    def _overloaded(self, key: Key | None) -> OverloadedError:
        if key is None:
            return _overloaded(f"all {self._places} workers are busy and {self._queue} calls are waiting")
        return _overloaded(f"{self._limits[key[0]].running} calls of this {key[0]} are running", key)


def _overloaded(message: str, key: Key | None = None) -> OverloadedError:
    """Return the error. Its context has the kind of the key that is full."""
    return OverloadedError(message, retry_after=1.0, context={} if key is None else {"key": key[0]})
