"""DispatchWorkers: the threads that run calls whose caller stops waiting at the deadline."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from .._internal.at_fork import new_lock
from .._internal.executor import WorkerPool

__all__ = ["DispatchWorkers"]

_THREADS = 32


class DispatchWorkers:
    """Run calls in an executor, or in a pool that is made on first use.

    Args:
        executor: runs the calls and is not closed here; None makes a pool without a queue.
        threads: size of that pool.

    Threads: any.
    """

    def __init__(self, executor: Executor | None = None, *, threads: int = _THREADS) -> None:
        self._given = executor
        self._threads = threads
        self._pool: WorkerPool | None = None
        self._lock = new_lock()  # guards making the pool

    @property
    def executor(self) -> Executor:
        """The executor. Its `submit` raises OverloadedError when all threads of the pool are busy."""
        if self._given is not None:
            return self._given
        with self._lock:
            if self._pool is None:
                self._pool = WorkerPool(self._threads, 0, name="portal-call")
            return self._pool

    def submit(self, run: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run `run(*args)` in a thread. Raises: OverloadedError when all threads of the pool are busy."""
        return self.executor.submit(run, *args)

    def close(self, timeout: float | None) -> None:
        """End the pool, if there is one; running calls that take longer than `timeout` seconds go on."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=bool(timeout), cancel_futures=True, timeout=timeout)
