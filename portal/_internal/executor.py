"""WorkerPool: a bounded `concurrent.futures.Executor`.

The queue of the standard ThreadPoolExecutor has no bound. It also joins its threads at interpreter exit, so that a
function that never returns keeps the process alive. WorkerPool rejects jobs past its bound. Its threads are daemons.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from time import monotonic
from typing import Any

from ..errors import OverloadedError
from .at_fork import new_lock, renew_after_fork
from .background import LoopGuard, start_thread, supervise
from .conditions import Condition, PoolFuture, in_main_thread
from .job_queue import JobQueue, Key, KeyLimit, Keys
from .settings import count, whole_number

__all__ = ["WorkerPool", "shared_executor"]

_TOLERANCE = 0.5  # seconds without a thread after which the pool counts as failing
_Job = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any], Keys]
_Outcome = tuple[Any, BaseException | None]  # what a job returned or raised


class WorkerPool(Executor):
    """Run jobs in threads that start on demand.

    A job runs in a copy of the submitter's contextvars, so that the context of a call reaches it. A job may have keys,
    such as its function and its client. A job whose key is full waits, and others overtake it; see `JobQueue`.

    Args:
        workers: maximum number of threads, at least 1.
        queue: maximum number of jobs that wait for a thread. With 0, a job is rejected when every thread is busy.
        name: prefix of the names of the threads.
        limits: the limits of keys by kind.
        spare: maximum number of further threads, one for each job that nobody waits for any more; see `abandon`.

    Raises: ConfigError for a wrong bound.

    Threads: any may submit. After a fork, the child's pool has no threads and an empty queue.
    """

    def __init__(
        self,
        workers: int = 16,
        queue: int = 256,
        *,
        name: str = "portal-worker",
        limits: Mapping[str, KeyLimit] | None = None,
        spare: int = 0,
    ) -> None:
        self.workers = count("workers", workers)
        self.queue = whole_number("queue", queue, minimum=0)
        self.name = name
        self._limits = limits
        self._spare = spare
        self.after_fork()
        renew_after_fork(self)
        supervise(self)

    def after_fork(self) -> None:
        """Start with no threads and an empty queue; called by `__init__`, and in a child process after a fork."""
        self._ready = Condition()  # guards the attributes below; never held while a job runs
        self._jobs: deque[_Job] = deque()  # those that may run, until a thread takes them
        self._queue: JobQueue[_Job] = JobQueue(self.workers, self.queue, self._limits, spare=self._spare)
        self._threads: set[threading.Thread] = set()
        self._started = 0
        self._closed = False
        self._lost_at: float | None = None  # since when it has no thread, as the system cannot start one

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn(*args, **kwargs)` in a thread of the pool.

        Raises: OverloadedError if every thread is busy and the queue is full. OverloadedError also if the pool has no
            thread and the system cannot start one. RuntimeError after `shutdown`.
        """
        return self._submit((), fn, args, kwargs)

    def submit_with_keys(self, keys: Keys, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run `fn(*args)` when no key is full.

        Raises: OverloadedError also if too many jobs with one of the keys wait already; else as `submit`.
        """
        return self._submit(keys, fn, args, {})

    def _submit(self, keys: Keys, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        future: Future[Any] = PoolFuture()
        with self._ready:
            if self._closed:
                raise RuntimeError("the worker pool is shut down")
            job = (future, contextvars.copy_context().run, (fn, *args), kwargs, keys)
            before = self._queue.snapshot() if in_main_thread() else None
            try:
                if self._queue.add(job, keys):
                    self._jobs.append(job)
                    self._provide_thread()
            except BaseException as error:
                self._take_out(job, keys, None if isinstance(error, OverloadedError) else before)
                raise
        return future

    def _take_out(self, job: _Job, keys: Keys, before: object) -> None:
        """Put back what the submission of a job has changed.

        Args:
            before: a snapshot of the queue, if the handler of a signal may have interrupted a change of it.
        """
        was_to_run = any(one is job for one in self._jobs)
        if was_to_run:
            self._jobs = deque(one for one in self._jobs if one is not job)
        if before is not None:
            self._queue.restore(before)
        elif was_to_run:
            self._jobs.extend(started := self._queue.finish(keys))
            self._provide_threads(len(started))

    def hold(self, key: Key) -> None:
        """Count a key for a job that runs already, until `release`. Raises: OverloadedError if the key is full."""
        with self._ready:
            self._queue.hold(key)

    def release(self, keys: Keys) -> None:
        """Stop counting keys that were held."""
        with self._ready:
            self._jobs.extend(started := self._queue.release(keys))
            self._provide_threads(len(started))

    def abandon(self, keys: Keys) -> None:
        """Note that nobody waits for a running job with these keys; see `JobQueue.abandon`."""
        with self._ready:
            self._jobs.extend(started := self._queue.abandon(keys))
            self._provide_threads(len(started))

    def recover(self, keys: Keys) -> None:
        """Forget an abandoned job, as it ends."""
        with self._ready:
            self._queue.recover(keys)

    def is_stalled(self, keys: Keys) -> bool:
        """Return whether a key is full of abandoned jobs. No lock is taken."""
        return self._queue.is_stalled(keys)

    def _provide_threads(self, count: int) -> None:
        """Have threads take the jobs that were added last."""
        for _ in range(count):
            if not self._closed:
                try:
                    self._provide_thread()
                except OverloadedError:
                    return  # they wait for `restart`; the caller has nothing to do with them

    def _provide_thread(self) -> None:
        """Have a thread take the job that was added last. One that is about to end its job takes it, too."""
        if len(self._threads) < self._queue.running:
            self._start_thread()
        else:
            self._ready.notify()

    def _start_thread(self) -> None:
        try:
            thread = start_thread(f"{self.name}-{self._started + 1}", self._work)
        except OverloadedError:  # the system has no more threads, or the interpreter is ending
            if self._threads:
                self._ready.notify()
                return  # an existing thread will run the job
            if self._lost_at is None:
                self._lost_at = monotonic()
            raise
        self._threads.add(thread)
        self._started += 1
        self._lost_at = None

    def restart(self) -> None:
        """Start a thread for a job that waits without one. Does nothing if the system cannot start one now."""
        if self._lost_at is None and not self._jobs:
            return
        with self._ready:
            # An exception may have ended a thread, or what would have notified it, where no code could see that.
            self._threads = {thread for thread in self._threads if thread.is_alive()}
            self._ready.notify_all()
            if self._closed or (self._lost_at is None and len(self._threads) >= self._queue.running):
                return
            try:
                self._start_thread()
            except OverloadedError:
                return

    @property
    def failing(self) -> bool:
        """Whether it has no thread, as the system cannot start one."""
        lost_at = self._lost_at
        return lost_at is not None and monotonic() - lost_at >= _TOLERANCE

    # the threads

    def _work(self) -> None:
        guard = LoopGuard(self.name)
        job: _Job | None = None
        outcome: _Outcome | None = None
        with self._ready:
            self._threads.add(threading.current_thread())
        try:
            while True:
                try:
                    if (job := self._next_job()) is None:
                        return
                    try:
                        if job[0].set_running_or_notify_cancel():
                            outcome = job[1](*job[2], **job[3]), None
                    except BaseException as error:  # the caller that waits for the job gets it
                        outcome = None, error
                    self._end_job(job, outcome)
                    guard.clear()
                except BaseException as error:
                    guard.note(error)
                finally:
                    # This frame must not keep the job's arguments alive while the thread waits for the next job.
                    job = outcome = None
        finally:
            self._leave()

    def _end_job(self, job: _Job, outcome: _Outcome | None) -> None:
        try:
            with self._ready:
                # Before the result is set, so that a caller that waits for the result can submit again at once.
                self._jobs.extend(started := self._queue.finish(job[4]))
                self._provide_threads(len(started))
        finally:
            if outcome is not None:
                _set_outcome(job[0], *outcome)

    def _leave(self) -> None:
        """End this thread; another one goes on if it has ended by an exception."""
        with self._ready:
            self._threads.discard(threading.current_thread())
            if self._jobs and not self._closed:
                self._provide_thread()

    def _next_job(self) -> _Job | None:
        with self._ready:
            while not self._jobs and not self._closed:
                self._ready.wait()
            return self._jobs.popleft() if self._jobs else None

    def take_back(self, is_due: Callable[[Callable[..., Any], tuple[Any, ...]], bool]) -> list[tuple[Any, ...]]:
        """Cancel the waiting jobs that are due, and return their arguments.

        Args:
            is_due: receives the function and the arguments of a job. It must be quick, as the queue waits for it.
        """
        with self._ready:
            due = self._queue.take_back(lambda job: is_due(job[2][0], job[2][1:]))
        for future, *_ in due:
            future.cancel()
            future.set_running_or_notify_cancel()
        return [job[2][1:] for job in due]

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a thread now."""
        return len(self._jobs) + len(self._queue)

    def turns(self, keys: Keys) -> tuple[Key | None, float]:
        """Return what a job with these keys would wait for, and for how many turns; see `JobQueue.turns`."""
        return self._queue.turns(keys)

    @property
    def crowded(self) -> bool:
        """Whether a job waits for a thread, and not for one of its keys alone."""
        return bool(self._jobs) or (len(self._queue) > 0 and not self._queue.has_place)

    def stats(self) -> dict[str, int]:
        """Return the present numbers of threads, of waiting jobs, and of unfinished jobs. No lock is taken.

        `limited` counts jobs that waited or were rejected as a key was full, `abandoned` those nobody waits for.
        """
        found = {
            "threads": len(self._threads),
            "waiting": self.waiting,
            "unfinished": self._queue.running + len(self._queue),
        }
        if self._limits is not None:
            found |= {"limited": self._queue.limited, "abandoned": self._queue.abandoned}
        return found

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, timeout: float | None = None) -> None:
        """Reject new jobs, and end the threads. May be called twice, from any thread.

        Args:
            wait: whether to wait for the running jobs.
            cancel_futures: whether to cancel the waiting jobs.
            timeout: maximum seconds to wait; None waits without limit.
        """
        with self._ready:
            self._closed = True
            self._lost_at = None
            waiting = self._cancel_all() if cancel_futures else []
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
            self._ready.notify_all()
        for job in waiting:
            job[0].cancel()
            job[0].set_running_or_notify_cancel()
        if wait:
            _join(threads, timeout)

    def _cancel_all(self) -> list[_Job]:
        waiting = self._queue.take_back(lambda job: True)
        started = list(self._jobs)
        self._jobs.clear()
        for job in started:
            self._queue.finish(job[4])
        return started + waiting


def _set_outcome(future: Future[Any], result: Any, error: BaseException | None) -> None:
    try:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
    except BaseException as failure:
        if future.done():
            raise  # by the log line of a callback that failed
        future.set_exception(failure)


def _join(threads: list[threading.Thread], timeout: float | None) -> None:
    end = None if timeout is None else monotonic() + timeout
    for thread in threads:
        thread.join(None if end is None else max(0.0, end - monotonic()))


_shared_lock = new_lock()  # guards the creation of the shared pool
_shared: list[WorkerPool] = []


def shared_executor() -> WorkerPool:
    """Return the pool of this process for calls outside of a portal or consumer: 32 threads, 1,024 waiting jobs."""
    with _shared_lock:
        if not _shared:
            _shared.append(WorkerPool(32, 1024, name="portal-shared"))
        return _shared[0]
