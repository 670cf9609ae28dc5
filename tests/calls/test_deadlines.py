from __future__ import annotations

import gc
import logging
import threading
from concurrent.futures import Future
from time import monotonic
from typing import Any

import pytest

from portal.calls.deadlines import DeadlineWatch, wait_for
from portal.context import CallContext
from portal.errors import CallCancelled, CallTimeout, OverloadedError
from tests.support.clocks import Clock

WAIT = 10.0


def test_wait_gives_the_result() -> None:
    future: Future[int] = Future()
    future.set_result(3)
    assert wait_for(future, CallContext.for_call(1.0), "f") == 3
    assert wait_for(future, CallContext.for_call(), "f") == 3


def test_wait_ends_at_the_deadline_and_cancels() -> None:
    future: Future[int] = Future()
    context = CallContext.for_call(0.001)
    with pytest.raises(CallTimeout, match="f did not respond") as caught:
        wait_for(future, context, "f")
    assert context.cancelled
    assert future.cancelled()
    assert caught.value.request_id == context.request_id


def test_the_functions_own_timeout_error_is_passed_on() -> None:
    future: Future[int] = Future()
    own = TimeoutError("mine")
    future.set_exception(own)
    with pytest.raises(TimeoutError) as caught:
        wait_for(future, CallContext.for_call(5.0), "f")
    assert caught.value is own


def test_a_cancelled_future() -> None:
    future: Future[int] = Future()
    future.cancel()
    with pytest.raises(CallCancelled):
        wait_for(future, CallContext.for_call(5.0), "f")


def test_due_entries_fire_once_and_in_time() -> None:
    clock, fired = Clock(100.0), []
    watch = DeadlineWatch(clock)
    watch._thread = threading.current_thread()  # the test is the watching thread
    watch.add(101.0, lambda: fired.append("first"))
    watch.add(103.0, lambda: fired.append("second"))
    kept = watch.add(101.0, lambda: fired.append("discarded"))
    assert watch.discard(kept)
    assert not watch.discard(kept)
    watch.fire_due()
    assert fired == []
    clock.now = 101.0
    watch.fire_due()
    watch.fire_due()
    assert fired == ["first"]
    clock.now = 200.0
    watch.fire_due()
    assert fired == ["first", "second"]


def test_a_callback_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clock, fired = Clock(100.0), []
    watch = DeadlineWatch(clock)
    watch._thread = threading.current_thread()

    def bad() -> Any:
        raise ValueError("bad")

    watch.add(1.0, bad)
    watch.add(1.0, lambda: fired.append(1))
    with caplog.at_level(logging.ERROR, "portal.calls"):
        watch.fire_due()
    assert fired == [1]
    assert "failed" in caplog.text


def test_the_thread_fires_and_ends() -> None:
    from time import monotonic

    watch, first, second = DeadlineWatch(), threading.Event(), threading.Event()
    watch.add(monotonic() + 3600, lambda: None)
    watch.add(monotonic() + 0.01, first.set)
    assert first.wait(WAIT)
    watch.add(monotonic() - 1, second.set)
    assert second.wait(WAIT)
    thread = watch._thread
    watch.close()
    assert thread is not None
    assert not thread.is_alive()
    watch.close()


def test_when_the_system_has_no_thread_to_give_nothing_is_left_unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, fired = DeadlineWatch(), threading.Event()
    with monkeypatch.context() as patch:

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OverloadedError):
            watch.add(monotonic(), fired.set)
    assert not watch._entries
    watch.add(monotonic(), fired.set)
    assert fired.wait(10)
    watch.close()


def test_an_entry_that_is_added_while_the_garbage_collector_runs_ends_no_watch() -> None:
    clock = Clock(100.0)
    watch = DeadlineWatch(clock)
    for _ in range(5_000):  # so many that, in CPython 3.11, it runs while they are looked through
        watch._entries[object()] = (1000.0, lambda: None)
    added: list[object] = []

    def add(phase: str, _: object) -> None:  # as any thread may that goes on in a finaliser
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
