"""Deadlines: wait for a worker, and the watch that responds in time."""

from __future__ import annotations

import gc
import logging
import threading
from concurrent.futures import Future
from time import monotonic
from typing import Any

import pytest

from portal.calls.deadlines import DeadlineWatch, uncalled_error, wait_for
from portal.context import CallContext
from portal.errors import CallCancelled, CallTimeout, OverloadedError
from tests.support.clocks import Clock

WAIT = 10.0


def test_wait_for_returns_the_result() -> None:
    future: Future[int] = Future()
    future.set_result(3)
    assert wait_for(future, CallContext.for_call(1.0), "f") == 3
    assert wait_for(future, CallContext.for_call(), "f") == 3


def test_wait_for_ends_at_the_deadline_and_cancels_the_call() -> None:
    future: Future[int] = Future()
    context = CallContext.for_call(0.001)
    with pytest.raises(CallTimeout, match="f did not respond") as caught:
        wait_for(future, context, "f")
    assert context.cancelled
    assert future.cancelled()
    assert caught.value.request_id == context.request_id


def test_a_timeout_error_of_the_function_is_raised_unchanged() -> None:
    future: Future[int] = Future()
    own = TimeoutError("of the function")
    future.set_exception(own)
    with pytest.raises(TimeoutError) as caught:
        wait_for(future, CallContext.for_call(5.0), "f")
    assert caught.value is own


def test_wait_for_a_cancelled_future() -> None:
    future: Future[int] = Future()
    future.cancel()
    with pytest.raises(CallCancelled):
        wait_for(future, CallContext.for_call(5.0), "f")


def test_callbacks_run_once_at_their_deadline() -> None:
    clock, ran = Clock(100.0), []
    watch = DeadlineWatch(clock)
    watch._loop.running = True  # the test takes the place of the thread
    watch.add(101.0, lambda: ran.append("first"))
    watch.add(103.0, lambda: ran.append("second"))
    token = watch.add(101.0, lambda: ran.append("discarded"))
    assert watch.discard(token)
    assert not watch.discard(token)
    watch.fire_due()
    assert ran == []
    clock.now = 101.0
    watch.fire_due()
    watch.fire_due()
    assert ran == ["first"]
    clock.now = 200.0
    watch.fire_due()
    assert ran == ["first", "second"]


def test_a_callback_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clock, ran = Clock(100.0), []
    watch = DeadlineWatch(clock)
    watch._loop.running = True

    def fail() -> Any:
        raise ValueError("the callback failed")

    watch.add(1.0, fail)
    watch.add(1.0, lambda: ran.append(1))
    with caplog.at_level(logging.ERROR, "portal.calls"):
        watch.fire_due()
    assert ran == [1]
    assert "responding to a call at its deadline failed" in caplog.text


def test_the_thread_runs_callbacks_and_ends() -> None:
    from time import monotonic

    watch, first, second = DeadlineWatch(), threading.Event(), threading.Event()
    watch.add(monotonic() + 3600, lambda: None)
    watch.add(monotonic() + 0.01, first.set)
    assert first.wait(WAIT)
    watch.add(monotonic() - 1, second.set)
    assert second.wait(WAIT)
    thread = watch._loop._thread
    watch.close()
    assert thread is not None
    assert not thread.is_alive()
    watch.close()


def test_add_fails_if_the_system_cannot_start_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, ran = DeadlineWatch(), threading.Event()
    with monkeypatch.context() as patch:

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(OverloadedError):
            watch.add(monotonic(), ran.set)
    assert not watch._entries
    watch.add(monotonic(), ran.set)
    assert ran.wait(10)
    watch.close()


class FaultyClock:
    """A clock that raises once in each phase that a test names."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.raised = threading.Event()

    def __call__(self) -> float:
        if self.errors and threading.current_thread().name == "portal-deadlines":
            self.raised.set()
            raise self.errors.pop()
        return monotonic()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("wrong"), SystemExit(1)])
def test_deadlines_are_enforced_after_a_fault_in_the_thread(error: BaseException) -> None:
    clock, first, second = FaultyClock(), threading.Event(), threading.Event()
    watch = DeadlineWatch(clock)
    clock.errors = [error]
    watch.add(monotonic() + 0.01, first.set)
    assert clock.raised.wait(WAIT)
    assert first.wait(WAIT)
    watch.add(monotonic(), second.set)
    assert second.wait(WAIT)
    watch.close()


def test_a_fault_while_callbacks_run_postpones_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass over the entries ends by an exception, and no new entry comes to start another one."""
    watch, ran, fire = DeadlineWatch(), threading.Event(), DeadlineWatch.fire_due
    faults = [MemoryError(), OSError("wrong")]

    def failing(self: DeadlineWatch) -> None:
        if faults:
            raise faults.pop()
        fire(self)

    monkeypatch.setattr(DeadlineWatch, "fire_due", failing)
    watch.add(monotonic() + 0.01, ran.set)
    assert ran.wait(WAIT)
    watch.close()


def test_a_log_handler_that_raises_does_not_stop_the_deadlines() -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise MemoryError

    def fail() -> None:
        raise ValueError("wrong")

    handler, ran, watch = Failing(), threading.Event(), DeadlineWatch()
    logging.getLogger("portal.calls").addHandler(handler)
    try:
        watch.add(monotonic(), fail)
        watch.add(monotonic() + 0.02, ran.set)
        assert ran.wait(WAIT)
    finally:
        logging.getLogger("portal.calls").removeHandler(handler)
        watch.close()


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError(), KeyboardInterrupt()])
def test_an_entry_is_removed_if_its_thread_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise error

    watch = DeadlineWatch()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises((OverloadedError, KeyboardInterrupt)):
            watch.add(monotonic(), lambda: None)
    assert not watch._entries
    watch.close()


def test_entries_may_be_added_while_the_garbage_collector_runs() -> None:
    clock = Clock(100.0)
    watch = DeadlineWatch(clock)
    for _ in range(5_000):  # enough for CPython 3.11 to collect garbage during the loop over them
        watch._entries[object()] = (1000.0, lambda: None)
    added: list[object] = []

    def add(phase: str, _: object) -> None:  # as another thread may during a finaliser
        if phase == "start" and not added:
            added.append(object())
            watch._entries[added[0]] = (1000.0, lambda: None)

    gc.collect()
    gc.callbacks.append(add)
    try:
        watch.fire_due()
    finally:
        gc.callbacks.remove(add)
        watch.close()


def test_a_call_that_was_not_sent_is_not_said_to_be_running() -> None:
    error = uncalled_error(CallContext(), "http://other/api/add", "there was no connection")
    assert str(error) == "http://other/api/add did not respond in time; there was no connection"
    assert not error.may_have_executed
