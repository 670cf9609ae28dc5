"""CallWorkers: the threads in which a Consumer makes calls for `submit_at`, `map_at` and `notify_at`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.executor import WorkerPool
from .._internal.log import get_logger
from .._internal.shutdown import raise_if_shutting_down
from ..errors import OverloadedError, PortalError
from .closed import closed_error

__all__ = ["CallWorkers", "log_failure"]

_log = get_logger("portal.consumer")
_THREADS = 32
_QUEUE = 1024


class CallWorkers:
    """Run calls in threads: those of an executor, or of a bounded pool that is made on first use.

    Args:
        executor: runs the calls and is not closed here; None makes a pool of 32 threads and 1,024 queued calls.

    Threads: any. The threads of the pool end with this object, closed or not, when their calls are done. Fork: a child
    process makes a pool of its own.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._pool: WorkerPool | None = None
        self._lock = new_lock()  # guards making the pool
        self._closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Drop the pool of the parent process, whose threads do not run in a child; a child calls this by itself."""
        self._pool = None

    def submit(self, call: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Run `call(*args, **options)` in a thread.

        Raises: ConsumerError after `close`; OverloadedError when the pool and its queue are full;
            PortalError while the interpreter ends.
        """
        try:
            return self._open_executor().submit(call, *args, **options)
        except (OverloadedError, RuntimeError) as error:
            raise_if_shutting_down(error)
            raise

    def _open_executor(self) -> Executor:
        if self._closed:
            raise closed_error()
        if self._executor is not None:
            return self._executor
        with self._lock:
            if self._closed:
                raise closed_error()
            if self._pool is None:
                pool = self._pool = WorkerPool(_THREADS, _QUEUE, name="portal-consumer")
                # The threads keep the pool alive, so they would outlive an owner that is not closed. Queued calls run.
                weakref.finalize(self, pool.shutdown, wait=False).atexit = False
            return self._pool

    def close(self) -> None:
        """Take no more calls and cancel the queued ones. May be called twice."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def log_failure(name: str, done: Future[Any]) -> None:
    """Log the error of a notification of a function."""
    error = None if done.cancelled() else done.exception()
    if isinstance(error, PortalError):
        _log.warning("notification of %s failed: %s", name, error)
    elif error is not None:
        _log.error("notification of %s failed", name, exc_info=error)
