"""FutureRunner: executors of the standard library and of others, whose errors become portal errors."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from time import monotonic
from typing import Any

import pytest

from portal import CallCancelled, CallContext, CallTimeout, OverloadedError, SerializationError
from portal.errors import TransportError
from portal.processes.futures import FutureRunner, failed_job, remote_runner, wait_for_job
from portal.processes.jobs import Job

JOB = Job("add", max, (1, 2))
WAIT = 30.0


class Given(Executor):
    """Returns a future that the test resolves."""

    def __init__(self) -> None:
        self.future: Future[Any] = Future()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.future


def test_only_executors_of_other_processes_are_remote() -> None:
    with ThreadPoolExecutor(1) as threads:
        assert remote_runner(threads) is None
    assert remote_runner(None) is None
    processes = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    assert isinstance(remote_runner(processes), FutureRunner)
    processes.shutdown()


def test_a_job_runs() -> None:
    executor = Given()
    executor.future.set_result(("ok", 2))
    assert FutureRunner(executor).run(JOB, CallContext()) == ("ok", 2)


def test_a_late_job() -> None:
    for running in (False, True):
        executor = Given()
        if running:
            executor.future.set_running_or_notify_cancel()
        with pytest.raises(CallTimeout) as caught:
            FutureRunner(executor).run(JOB, CallContext(deadline=monotonic() + 0.01))
        assert caught.value.may_have_executed is running
        assert executor.future.cancelled() is not running


def test_an_executor_that_does_not_tell_whether_a_job_started() -> None:
    executor, context = Given(), CallContext()
    with pytest.raises(CallTimeout, match="may still be running") as late:
        FutureRunner(executor, tells_start=False).run(JOB, CallContext(deadline=monotonic() + 0.01))
    assert late.value.may_have_executed
    assert executor.future.cancelled()
    context.cancel()
    with pytest.raises(CallCancelled) as cancelled:
        FutureRunner(Given(), tells_start=False).run(JOB, context)
    assert cancelled.value.may_have_executed


def test_a_cancelled_job() -> None:
    context, executor = CallContext(), Given()
    executor.future.set_running_or_notify_cancel()
    thread = threading.Thread(target=context.cancel)
    thread.start()
    with pytest.raises(CallCancelled) as caught:
        FutureRunner(executor).run(JOB, context)
    thread.join(WAIT)
    assert caught.value.may_have_executed


def test_a_future_that_another_has_cancelled() -> None:
    future: Future[Any] = Future()
    future.cancel()
    with pytest.raises(TransportError, match="was cancelled by") as caught:
        wait_for_job(JOB, future, CallContext(), "")
    assert caught.value.may_have_executed


def test_a_portal_error_of_the_executor_passes() -> None:
    future: Future[Any] = Future()
    future.set_exception(OverloadedError("full"))
    with pytest.raises(OverloadedError):
        wait_for_job(JOB, future, CallContext(), "")


def test_a_broken_executor() -> None:
    executor = Given()
    executor.future.set_exception(BrokenProcessPool("a process died"))
    with pytest.raises(TransportError, match="BrokenProcessPool: a process died") as caught:
        FutureRunner(executor).run(JOB, CallContext())
    assert caught.value.may_have_executed
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    with pytest.raises(TransportError) as rejected:
        FutureRunner(closed).run(JOB, CallContext())
    assert rejected.value.delivery == "not_sent"


def test_what_cannot_be_sent() -> None:
    error = failed_job(JOB, TypeError("cannot pickle '_thread.lock' object"), sent=False)
    assert isinstance(error, SerializationError)
    assert not error.may_have_executed


def test_a_timeout_of_the_executor_is_not_the_deadline() -> None:
    executor, context = Given(), CallContext()
    executor.future.set_exception(TimeoutError("the network"))
    with pytest.raises(TransportError, match="TimeoutError: the network") as caught:
        FutureRunner(executor).run(JOB, context)
    assert caught.value.may_have_executed
    assert not context._callbacks
