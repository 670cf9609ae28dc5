"""ServiceTimes: how long workers take for the requests of a function, and so how long another one would wait."""

from __future__ import annotations

import threading

from ..._internal.executor import WorkerPool
from ..._internal.job_queue import Keys

__all__ = ["TOO_LATE", "ServiceTimes"]

TOO_LATE = "a worker is expected to be free only after the deadline of the call"

_WEIGHT = 1 / 10  # of the latest request in the average
_MAX_GROWTH = 8  # a request that takes longer than this many averages counts as so many


class ServiceTimes:
    """The usual time of requests, by function and of all.

    Args:
        pool: the workers.
        max_keys: number of functions. When there are more, all of them are forgotten.

    Threads: any. The averages are read without the lock: a reader sees the former value or the new one.
    """

    def __init__(self, pool: WorkerPool, max_keys: int = 4096) -> None:
        self._pool = pool
        self._max_keys = max_keys
        self._usual: dict[str, float] = {}  # "" is for all
        self._lock = threading.Lock()  # guards changes

    def note(self, keys: Keys, seconds: float) -> None:
        """Note how long a worker took for a request with these keys. One without a function does not count."""
        for kind, value in keys:
            if kind == "function":
                with self._lock:
                    self._add("", seconds)
                    self._add(value, seconds)

    def _add(self, key: str, seconds: float) -> None:
        usual = self._usual.get(key)
        if usual is not None:
            self._usual[key] = usual + (min(seconds, _MAX_GROWTH * usual) - usual) * _WEIGHT
            return
        if len(self._usual) > self._max_keys:
            self._usual = {"": self._usual.get("", seconds)}
        self._usual[key] = seconds

    def predicted_wait(self, keys: Keys) -> float:
        """Return the seconds for which a request with these keys would wait; 0.0 if it would not, or if unknown."""
        key, turns = self._pool.turns(keys)
        if not turns:
            return 0.0
        return turns * self._usual.get(key[1] if key is not None and key[0] == "function" else "", 0.0)
