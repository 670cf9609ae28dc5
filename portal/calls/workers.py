"""DispatchWorkers: the threads that run calls whose caller stops waiting at the deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.conditions import in_main_thread
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
        """The number of calls rejected because a key was full."""
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
        counted = _Counted(self, keys)
        future: Future[Any] | None = None
        try:
            counted.begin()
            future = self._start(run, *args)
            future.add_done_callback(counted.end)
        except BaseException:
            if future is not None:
                future.cancel()
            counted.end()
            raise
        return future

    def begin(self, keys: Keys, counts: list[bool]) -> None:
        """Count a call, and note it in `counts`. Raises: OverloadedError when a key is full."""
        with self._counting:
            before = self._running.snapshot() if in_main_thread() else None
            try:
                self._running.add(None, keys)
                counts.append(True)
            except BaseException as error:
                if before is not None and not isinstance(error, OverloadedError):  # of the handler of a signal
                    counts.clear()
                    self._running.restore(before)
                raise

    def _start(self, run: Callable[..., Any], *args: Any) -> Future[Any]:
        try:
            return self.executor.submit(run, *args)
        except (OverloadedError, RuntimeError) as error:
            raise_if_shutting_down(error)
            raise

    def finish(self, keys: Keys, counts: list[bool]) -> None:
        """Stop counting a call, if it is noted in `counts`."""
        with self._counting:
            if not counts:
                return
            before = self._running.snapshot() if in_main_thread() else None
            try:
                self._running.finish(keys)
                counts.clear()
            except BaseException:
                if before is not None:  # the handler of a signal interrupted it, and nothing else will do it
                    self._running.restore(before)
                    self._running.finish(keys)
                    counts.clear()
                raise

    def with_keys(self, keys: Keys) -> Executor:
        """Return the executor for jobs with these keys."""
        return _KeyedExecutor(self, keys)

    def close(self, timeout: float | None) -> None:
        """End the pool, if there is one; running calls that take longer than `timeout` seconds go on."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=bool(timeout), cancel_futures=True, timeout=timeout)


class _Counted:
    """One call that counts from `begin` to the first `end`, also if the handler of a signal raises in between.

    Threads: the one that submits the call, and then the one that ends it.
    """

    def __init__(self, workers: DispatchWorkers, keys: Keys) -> None:
        self._workers = workers
        self._keys = keys
        self._counts: list[bool] = []  # one item while it counts; changed under the lock of the workers

    def begin(self) -> None:
        """Begin to count. Raises: OverloadedError when a key is full."""
        self._workers.begin(self._keys, self._counts)

    def end(self, _: object = None) -> None:
        """Stop counting, the first time."""
        self._workers.finish(self._keys, self._counts)


class _KeyedExecutor(Executor):
    """Submits jobs with the same keys. Its owner closes the workers."""

    def __init__(self, workers: DispatchWorkers, keys: Keys) -> None:
        self._workers = workers
        self._keys = keys

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._workers.submit(partial(fn, **kwargs) if kwargs else fn, *args, keys=self._keys)
