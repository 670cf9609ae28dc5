"""ProcessPool: a bounded pool of worker processes, of which a killed one costs one call.

`concurrent.futures.ProcessPoolExecutor` fails all its jobs when one process ends, and cannot stop a running job. This
pool ends the process of a job that is cancelled or late, and starts another one in its place.
"""

from __future__ import annotations

import threading
from math import inf
from time import monotonic

from .._internal.at_fork import renew_after_fork
from .._internal.background import logging_errors, start_thread
from .._internal.closing import run_all
from .._internal.conditions import Condition
from .._internal.log import get_logger
from .._internal.processors import count_processors
from .._internal.settings import count, positive_seconds, whole_number
from ..context import CallContext
from ..errors import OverloadedError, PortalError, TransportError
from .jobs import Job, cancelled_job, late_job, pack, unpack
from .process import WorkerProcess

__all__ = ["ProcessPool"]

_log = get_logger("portal.processes")
_START_PAUSE = 1.0  # seconds after a start that failed, while there are other processes


class _Running:
    """A job that runs in a process: cancelling it kills that process, and no later one.

    Attributes:
        taken: the process that the job has taken from the pool, until it is given back.

    Threads: any; `taken` belongs to the thread of the job.
    """

    def __init__(self, pool: ProcessPool) -> None:
        self._pool = pool
        self._lock = Condition()  # guards the attribute below
        self._process: WorkerProcess | None = None
        self.taken: WorkerProcess | None = None

    def begin(self, process: WorkerProcess) -> None:
        """Kill this process when the job is cancelled."""
        with self._lock:
            self._process = process

    def end(self) -> None:
        """Leave the process alone from now on."""
        with self._lock:
            self._process = None

    def cancel(self) -> None:
        """Kill the process, or let the caller stop waiting for one."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._pool.wake()


class ProcessPool:
    """Run functions in processes of their own, so that they use all processors.

    Processes start on demand and stay. Pass a pool as `@function(executor=pool)` to give some functions processes of
    their own; "processes" stands for the pool of this process.

    Args:
        workers: maximum number of processes; None takes the number of processors.
        queue: maximum number of calls that wait for a process.
        max_calls: calls after which a process is replaced, for functions that leak memory; None never replaces it.
        start_timeout: seconds within which a process must be ready.

    Raises: ConfigError for a wrong bound.

    Threads: any. Fork: a child starts processes of its own.
    """

    def __init__(
        self,
        workers: int | None = None,
        queue: int = 256,
        *,
        max_calls: int | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self.workers = count("processes.workers", workers, optional=True) or count_processors()
        self.queue = whole_number("processes.queue", queue, minimum=0)
        self._max_calls = count("processes.max_calls", max_calls, optional=True)
        self._start_timeout = positive_seconds("processes.start_timeout", start_timeout)
        self._processes: set[WorkerProcess] = set()
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without processes; called by `__init__`, and in a child process after a fork."""
        for process in self._processes:
            process.abandon()
        self._changed = Condition()  # guards the attributes below; never held during a call
        self._processes = set()
        self._idle: list[WorkerProcess] = []
        self._starting: set[threading.Thread] = set()  # those that start a process
        self._waiting = 0
        self._failure: tuple[float, Exception] | None = None  # of the last start
        self._closed = False
        self._calls = self._killed = self._lost = 0

    def run(self, job: Job, context: CallContext) -> object:
        """Run a job in a process and return its result.

        Raises: CallTimeout at the deadline and CallCancelled, after the process was ended. OverloadedError if too many
            calls wait. TransportError if the process ends by itself, or cannot be started. SerializationError.
        """
        data = pack(job)
        running = _Running(self)
        cancel = running.cancel
        context.on_cancel(cancel)
        try:
            while True:
                reply = self._run_once(job, data, running, context)
                if reply is not None:
                    return unpack(reply)
        except BaseException:
            self._give_back(
                running, usable=False
            )  # if the handler of a signal has raised where it was to be given back
            raise
        finally:
            context.forget(cancel)

    def _run_once(self, job: Job, data: bytes, running: _Running, context: CallContext) -> bytes | None:
        """Return the reply of one process; None if it had ended before it got the job."""
        process = self._take(job, running, context)
        usable = is_sent = False
        try:
            running.begin(process)
            if context.cancelled:
                process.kill()
            process.send(data, context.remaining())
            is_sent = True
            reply = process.receive(context.remaining())
            usable = True
            return reply
        except TimeoutError:
            raise late_job(job, context, started="its process was ended" if is_sent else "") from None
        except (EOFError, OSError) as error:
            if not is_sent:
                return None
            if context.cancelled:
                raise cancelled_job(context, started=True) from None
            raise self._ended(job, process, error) from None
        finally:
            run_all(running.end, lambda: self._give_back(running, usable), attempts=2)

    def _take(self, job: Job, running: _Running, context: CallContext) -> WorkerProcess:
        arrived = monotonic()
        with self._changed:
            self._calls += 1
            if not self._idle and self._waiting >= self.queue + len(self._starting) + self._free():
                message = f"all {self.workers} processes are busy and {self._waiting} calls wait"
                raise OverloadedError(message, retry_after=1.0)
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise PortalError("the process pool is closed", delivery="not_sent")
                    if context.cancelled:
                        raise cancelled_job(context, started=False)
                    if context.expired:
                        raise late_job(job, context)
                    while self._idle:
                        process = running.taken = self._idle[-1]
                        del self._idle[-1]  # no handler of a signal runs between the two, as it may after a call
                        if process.alive:
                            return process
                        self._processes.discard(process)
                        process.close()  # it has ended, so this does not wait
                        running.taken = None
                    self._raise_failure(arrived)
                    pause = self._provide()
                    if pause is None and self._starting:
                        pause = _START_PAUSE  # a thread that starts a process may end without a word
                    left = context.remaining()
                    self._changed.wait(pause if left is None else min(pause or left, left))
            finally:
                self._waiting -= 1

    def _free(self) -> int:
        """Return how many further processes may start."""
        self._starting = {thread for thread in self._starting if thread.is_alive()}
        return self.workers - len(self._processes) - len(self._starting)

    def _raise_failure(self, since: float) -> None:
        if self._failure is not None and self._failure[0] >= since and not self._processes:
            message = f"no worker process can be started: {self._failure[1]}"
            raise TransportError(message, delivery="not_sent", cause=self._failure[1])

    def _provide(self) -> float | None:
        """Start a process if one is needed and there may be another one.

        Returns: seconds until it is tried again after a failure; None if it need not be.
        """
        if self._free() <= 0 or len(self._starting) >= self._waiting:
            return None
        failed_at = -inf if self._failure is None else self._failure[0]
        pause = failed_at + _START_PAUSE - monotonic()
        if pause > 0 and self._processes:
            return pause
        self._starting.add(start_thread("portal-process-start", logging_errors, "portal-process-start", self._start))
        return None

    def _start(self) -> None:
        process: WorkerProcess | None = None
        try:
            process = WorkerProcess(self._start_timeout)
        except Exception as error:
            with self._changed:
                self._failure = (monotonic(), error)
            raise
        finally:
            with self._changed:
                self._starting.discard(threading.current_thread())
                if process is not None and not self._closed:
                    self._processes.add(process)
                    self._idle.append(process)
                    process = None
                self._changed.notify_all()
            if process is not None:
                process.close()

    def _give_back(self, running: _Running, usable: bool) -> None:
        """Take the process of a job back, or end it. May be called again, if an exception has interrupted it."""
        process = running.taken
        if process is None:
            return
        worn = self._max_calls is not None and process.uses >= self._max_calls
        with self._changed:
            if usable and not worn and not self._closed:
                self._idle += [process]
                running.taken = None  # no handler of a signal runs between the two, as it may after a call
                self._changed.notify()
                return
            self._killed += not usable and process in self._processes
            self._processes.discard(process)
            self._changed.notify_all()  # a waiter starts the next one
        process.kill()
        process.close()
        running.taken = None

    def _ended(self, job: Job, process: WorkerProcess, error: Exception) -> TransportError:
        with self._changed:
            self._lost += 1
        end = process.close()
        _log.error("a worker process ended: function=%s end=%s", job.name, end)
        return TransportError(f"the process that ran {job.name} ended by itself: {end}", cause=error)

    def wake(self) -> None:
        """Let the callers that wait for a process look whether they were cancelled."""
        with self._changed:
            self._changed.notify_all()

    def pids(self) -> list[int]:
        """Return the ids of the processes."""
        with self._changed:
            return sorted(process.pid for process in self._processes)

    def stats(self) -> dict[str, int]:
        """Return the numbers of calls, processes, idle ones and waiting calls, and of processes killed and lost."""
        with self._changed:
            return {
                "calls": self._calls,
                "processes": len(self._processes),
                "idle": len(self._idle),
                "waiting": self._waiting,
                "killed": self._killed,
                "lost": self._lost,
            }

    def close(self) -> None:
        """End all processes; running calls fail. May be called twice."""
        with self._changed:
            self._closed = True
            processes, idle, self._processes, self._idle = self._processes, self._idle, set(), []
            self._changed.notify_all()
        for process in processes:
            process.kill()
        for process in idle:  # the caller of any other one closes it
            process.close()
