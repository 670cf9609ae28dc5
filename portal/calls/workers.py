"""DispatchWorkers: the threads that run calls whose caller stops waiting at the deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.executor import WorkerPool
from .._internal.job_queue import JobQueue, KeyLimit, Keys
from .._internal.shutdown import raise_if_shutting_down
from ..errors import OverloadedError

__all__ = ["DISPATCH_THREADS", "DispatchWorkers"]

DISPATCH_THREADS = 32


class DispatchWorkers:
    """Run calls in an executor, or in a pool that is made on first use.

    Args:
        executor: runs the calls and is not closed here; None makes a pool without a queue.
        threads: size of that pool.
        limits: how many calls with one key may run, by the kind of the key; None counts nothing. A call counts until
            it ends, even if its caller has stopped waiting.

    Threads: any.
    """

    def __init__(
        self,
        executor: Executor | None = None,
        *,
        threads: int = DISPATCH_THREADS,
        limits: Mapping[str, KeyLimit] | None = None,
    ) -> None:
        self._given = executor
        self._limits = limits
        self.after_fork()
        renew_after_fork(self)
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

    def after_fork(self) -> None:
        """Count from zero; called by `__init__`, and in a child process after a fork."""
        self._running: JobQueue[None] = JobQueue(None, 0, self._limits)  # guarded by the lock below
        self._counting = threading.Lock()

    @property
    def limited(self) -> int:
        """How many calls were rejected because a key was full."""
        return self._running.limited

    def submit(self, run: Callable[..., Any], /, *args: Any, keys: Keys = ()) -> Future[Any]:
        """Run `run(*args)` in a thread.

        Args:
            keys: of the call.

        Raises: OverloadedError when all threads of the pool are busy, or when a key is full. PortalError while the
            interpreter ends.
        """
        if not keys or self._limits is None:
            return self._start(run, *args)
        with self._counting:
            self._running.add(None, keys)
        try:
            future = self._start(run, *args)
        except BaseException:
            self._finish(keys)
            raise
        try:
            future.add_done_callback(lambda _: self._finish(keys))
        except BaseException:
            if future.cancel():
                self._finish(keys)
            raise
        return future

    def _start(self, run: Callable[..., Any], *args: Any) -> Future[Any]:
        try:
            return self.executor.submit(run, *args)
        except (OverloadedError, RuntimeError) as error:
            raise_if_shutting_down(error)
            raise

    def _finish(self, keys: Keys) -> None:
        with self._counting:
            self._running.finish(keys)

    def with_keys(self, keys: Keys) -> Executor:
        """Return the executor for jobs with these keys."""
        return _KeyedExecutor(self, keys)

    def close(self, timeout: float | None) -> None:
        """End the pool, if there is one; running calls that take longer than `timeout` seconds go on."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=bool(timeout), cancel_futures=True, timeout=timeout)


class _KeyedExecutor(Executor):
    """Submits jobs with the same keys. Its owner closes the workers."""

    def __init__(self, workers: DispatchWorkers, keys: Keys) -> None:
        self._workers = workers
        self._keys = keys

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._workers.submit(partial(fn, **kwargs) if kwargs else fn, *args, keys=self._keys)
