"""FutureRunner: run functions by any `concurrent.futures.Executor` that runs them in other processes."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any

from .._internal.conditions import PoolFuture
from ..context import CallContext
from ..errors import PortalError, SerializationError, TransportError
from .jobs import Job, cancelled_job, late_job

__all__ = ["FutureRunner", "failed_job", "remote_runner", "wait_for_job"]

#: Of what an executor raises for arguments and results that it cannot send.
_UNSENDABLE = ("PicklingError", "AttributeError", "TypeError", "NotImplementedError")


def remote_runner(executor: Executor | None) -> FutureRunner | None:
    """Return a runner for an executor of other processes, such as that of a Dask client; None for one of threads."""
    homes = [base.__module__ for base in type(executor).__mro__]
    if executor is None or not any(home.startswith(("concurrent.futures.process", "distributed.")) for home in homes):
        return None
    return FutureRunner(executor, tells_start="concurrent.futures.process" in homes)


class FutureRunner:
    """Run functions by an executor of other processes.

    Args:
        executor: submits them; it is not closed here.
        tells_start: whether a future that can be cancelled has not started. A future of Dask can always be cancelled.

    Threads: any.
    """

    def __init__(self, executor: Executor, *, tells_start: bool = True) -> None:
        self._executor = executor
        self._tells_start = tells_start

    def run(self, job: Job, context: CallContext) -> Any:
        """Run a job and return its result.

        Raises: CallTimeout, CallCancelled, SerializationError; TransportError if the other process ends.
        """
        return wait_for_job(job, self._submit(job), context, "it may still be running", tells_start=self._tells_start)

    def _submit(self, job: Job) -> Future[Any]:
        try:
            return self._executor.submit(job.run, *job.arguments)
        except Exception as error:  # the executor is shut down or broken, or the job cannot be sent
            raise failed_job(job, error, sent=False) from error


def wait_for_job(
    job: Job, future: Future[Any], context: CallContext, running_on: str, *, tells_start: bool = True
) -> Any:
    """Return the result of a future, until the deadline of the context or its cancellation.

    Args:
        future: of the job. It is cancelled if nobody waits for it any more.
        running_on: what becomes of a job that has started.
        tells_start: see `FutureRunner`.

    Raises: CallTimeout, CallCancelled; for what the executor raises, see `failed_job`.
    """
    ended = _wait(job, future, context, running_on, tells_start)
    error = ended.exception()
    if isinstance(error, Exception) and not isinstance(error, PortalError):
        raise failed_job(job, error, sent=True) from error
    try:
        return ended.result()
    finally:
        del error, ended, future  # else the exception and this frame refer to each other


def _wait(job: Job, future: Future[Any], context: CallContext, running_on: str, tells_start: bool) -> Future[Any]:
    """Return a future that has the outcome of another one, as `wait_for_job` waits for it."""
    ended: Future[Any] = PoolFuture()

    def cancel() -> None:
        _pass_on(None, ended)

    future.add_done_callback(lambda done: _pass_on(done, ended))
    context.on_cancel(cancel)
    try:
        ended.exception(context.remaining())
        return ended
    except FutureTimeout:
        waited = future.cancel() and tells_start
        raise late_job(job, context, started="" if waited else running_on) from None
    except CancelledError:
        if context.cancelled:
            raise cancelled_job(context, started=not (future.cancel() and tells_start)) from None
        message = f"{job.name} was cancelled by its executor, such as a Dask cluster that has lost its scheduler"
        raise TransportError(message) from None
    finally:
        context.forget(cancel)


def _pass_on(done: Future[Any] | None, ended: Future[Any]) -> None:
    """Give `ended` the outcome of the job, or cancel it, whichever comes first."""
    with suppress(Exception):  # InvalidStateError: the other one came first
        if done is None or done.cancelled() or isinstance(done.exception(), CancelledError):
            ended.cancel()
        elif (error := done.exception()) is not None:
            ended.set_exception(error)
        else:
            ended.set_result(done.result())


def failed_job(job: Job, error: Exception, *, sent: bool) -> PortalError:
    """Return the portal error for what an executor raised; the function's own errors are no exceptions of it.

    Args:
        sent: whether the job was submitted.
    """
    kind = type(error).__name__
    text = f"{kind}: {error}"
    if kind in _UNSENDABLE and not isinstance(error, BrokenExecutor):
        message = f"{job.name}, its arguments or its result cannot be sent to another process: {text}"
        return SerializationError(message, delivery="unknown" if sent else "not_sent", cause=error)
    message = f"the worker process of {job.name} failed: {text}"
    return TransportError(message, delivery="unknown" if sent else "not_sent", cause=error)
