"""Dispatcher: middleware, deadlines, workers and streams, the same for every portal."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from portal import (
    CallCancelled,
    CallContext,
    CallTimeout,
    Consumer,
    HTTPPortal,
    LocalPortal,
    OverloadedError,
    PortalError,
)
from portal import function as make
from portal.calls.dispatcher import Dispatcher
from portal.calls.middleware import Call, CallNext
from tests.support.waiting import eventually

WAIT = 10.0


@make
def echo(value: Any = None) -> Any:
    return value


def call(function: Any = echo, timeout: float | None = None, streaming: bool = False, **params: Any) -> Call:
    return Call(function, params, CallContext.for_call(timeout), streaming=streaming)


def tracing(name: str, log: list[str]) -> Callable[[Call, CallNext], Any]:
    def layer(one: Call, call_next: CallNext) -> Any:
        log.append(f"{name} in")
        result = call_next(one)
        log.append(f"{name} out")
        return result

    return layer


def test_middleware_runs_in_order() -> None:
    log: list[str] = []
    assert Dispatcher([tracing("a", log), tracing("b", log)]).dispatch(call(value=1)) == 1
    assert log == ["a in", "b in", "b out", "a out"]


def test_an_error_of_middleware_is_not_a_function_error() -> None:
    def broken(one: Call, call_next: CallNext) -> Any:
        raise KeyError("key")

    dispatcher = Dispatcher([broken])
    with pytest.raises(PortalError, match="middleware around echo failed") as caught:
        dispatcher.dispatch(call())
    assert type(caught.value) is PortalError
    assert isinstance(caught.value.cause, KeyError)
    assert caught.value.request_id
    assert dispatcher.stats() == {"calls": 1, "failed": 1, "running": 0, "expired": 0}


def test_a_given_executor_runs_every_call() -> None:
    @make
    def where() -> str:
        return threading.current_thread().name

    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        dispatcher = Dispatcher(executor=pool)
        assert dispatcher.dispatch(call(where)).startswith("mine")
        assert dispatcher.dispatch(call(where, timeout=WAIT)).startswith("mine")
        dispatcher.close()


def test_a_call_without_a_deadline_runs_in_the_thread_of_the_caller() -> None:
    @make
    def where() -> str:
        return threading.current_thread().name

    dispatcher = Dispatcher()
    assert dispatcher.dispatch(call(where)) == threading.current_thread().name
    assert dispatcher.dispatch(call(where, timeout=WAIT)).startswith("portal-call")
    dispatcher.close(timeout=1.0)


def test_an_expired_call_does_not_run() -> None:
    ran: list[int] = []
    with pytest.raises(CallTimeout):
        Dispatcher().dispatch(call(make(name="f")(lambda: ran.append(1)), timeout=-1.0))
    assert ran == []


def test_the_timeout_of_the_function_applies() -> None:
    gate = threading.Event()
    slow = make(name="slow", timeout=0.02)(lambda: gate.wait(WAIT))
    dispatcher = Dispatcher()
    with pytest.raises(CallTimeout):
        dispatcher.dispatch(call(slow))
    with pytest.raises(CallTimeout):
        dispatcher.dispatch(call(slow, timeout=WAIT))
    gate.set()
    dispatcher.close()


def test_calls_that_never_return_exhaust_the_pool() -> None:
    gate = threading.Event()
    slow = make(name="slow")(lambda: gate.wait(WAIT))
    dispatcher = Dispatcher(workers=2)
    for _ in range(2):
        with pytest.raises(CallTimeout):
            dispatcher.dispatch(call(slow, timeout=0.02))
    with pytest.raises(OverloadedError) as caught:
        dispatcher.dispatch(call(slow, timeout=0.02))
    assert caught.value.retry_after
    gate.set()
    dispatcher.close()


def test_on_deadline_responds_before_the_function_returns() -> None:
    responded, gate = threading.Event(), threading.Event()
    errors: list[CallTimeout] = []

    def on_deadline(error: CallTimeout) -> None:
        assert not one.context.cancelled  # or the function might respond that the caller has cancelled it
        errors.append(error)
        responded.set()
        gate.set()

    one = call(make(name="slow")(lambda: gate.wait(WAIT)), timeout=0.02)
    dispatcher = Dispatcher()
    with pytest.raises(CallTimeout):
        dispatcher.dispatch(one, on_deadline)
    assert responded.is_set()
    eventually(lambda: one.context.cancelled)
    assert dispatcher.dispatch(call(value=1, timeout=WAIT), on_deadline) == 1
    assert len(errors) == 1
    dispatcher.close()


def test_a_callback_that_fails_at_the_deadline_does_not_keep_the_caller_waiting() -> None:
    responded = threading.Event()

    @make
    def slow(context: CallContext) -> bool:
        context.on_cancel(lambda: 1 / 0)
        return responded.wait(WAIT)

    dispatcher = Dispatcher()
    with pytest.raises(CallTimeout):
        dispatcher.dispatch(call(slow, timeout=0.5), lambda error: responded.set())
    assert responded.is_set()
    dispatcher.close()


def test_a_nested_call_has_the_earlier_deadline_and_the_same_thread() -> None:
    seen: list[Any] = []
    with LocalPortal() as portal, Consumer([portal]) as consumer:

        def inner(context: CallContext) -> str:
            seen.append(context.remaining())
            return threading.current_thread().name

        def outer() -> bool:
            same = consumer.call_at("local://inner", timeout=60) == threading.current_thread().name
            shorter = consumer.call_at("local://inner", timeout=1) != threading.current_thread().name
            return bool(same and shorter)

        portal.apply(inner)
        portal.apply(outer)
        assert consumer.call_at("local://outer", timeout=5) is True
    assert 1 < seen[0] <= 5
    assert seen[1] <= 1


@make
def count(n: int) -> Iterator[int]:
    yield from range(n)


def test_streams_with_and_without_a_deadline() -> None:
    dispatcher = Dispatcher()
    for timeout, on_deadline in ((None, None), (WAIT, None), (WAIT, lambda error: None)):
        one = call(count, timeout=timeout, streaming=True, n=3)
        assert list(dispatcher.dispatch(one, on_deadline)) == [0, 1, 2]
    dispatcher.close()


def test_a_stream_with_a_deadline_keeps_one_worker_until_it_is_closed() -> None:
    dispatcher = Dispatcher(workers=1)
    threads: list[int] = []

    @make
    def recording(n: int) -> Iterator[int]:
        for number in range(n):
            threads.append(threading.get_ident())
            yield number

    first = dispatcher.dispatch(call(recording, timeout=WAIT, streaming=True, n=3))
    assert next(first) == 0
    rejected = dispatcher.dispatch(call(recording, timeout=WAIT, streaming=True, n=3))
    with pytest.raises(OverloadedError) as caught:
        next(rejected)
    assert caught.value.context["operation"] == "recording"
    assert list(first) == [1, 2]
    assert len(set(threads)) == 1
    dispatcher.close(WAIT)


@pytest.mark.parametrize("watched", [False, True])
def test_a_stream_ends_at_its_deadline(watched: bool) -> None:
    gate, responded = threading.Event(), threading.Event()

    @make
    def stuck() -> Iterator[int]:
        yield 1
        gate.wait(WAIT)
        yield 2

    def on_deadline(error: CallTimeout) -> None:
        responded.set()
        gate.set()

    dispatcher = Dispatcher()
    items = dispatcher.dispatch(call(stuck, timeout=0.3, streaming=True), on_deadline if watched else None)
    assert next(items) == 1
    with pytest.raises((CallTimeout, CallCancelled)):
        list(items)
    assert responded.is_set() is watched
    gate.set()
    dispatcher.close()


def test_a_cancelled_stream_ends() -> None:
    one = call(count, streaming=True, n=5)
    items = Dispatcher().dispatch(one)
    assert next(items) == 0
    one.context.cancel()
    with pytest.raises(CallCancelled) as caught:
        next(items)
    assert caught.value.request_id == one.context.request_id


def test_middleware_may_return_another_stream() -> None:
    def tens(one: Call, call_next: CallNext) -> Any:
        return iter([item * 10 for item in call_next(one)])

    assert list(Dispatcher([tens]).dispatch(call(count, streaming=True, n=3))) == [0, 10, 20]


@pytest.mark.parametrize("portal_class", [LocalPortal, HTTPPortal])
def test_an_error_of_middleware_during_a_stream_is_not_a_function_error(portal_class: Any) -> None:
    def layer(one: Call, call_next: CallNext) -> Iterator[Any]:
        for item in call_next(one):
            yield item
            raise ValueError("of the middleware")

    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    with portal_class(middleware=[layer]) as portal, Consumer() as consumer:
        items = consumer.stream_at(portal.apply(numbers), {"count": 3})
        assert next(items) == 0
        with pytest.raises(PortalError, match="middleware around numbers failed") as caught:
            next(items)
    assert type(caught.value) is PortalError
    assert caught.value.request_id


def failing_close() -> Iterator[int]:
    try:
        yield from itertools.count()
    finally:
        raise OSError("the disk is full")


class Waiting(logging.Handler):
    """A log handler that waits for a message."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message
        self.seen = threading.Event()
        self.error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == self.message and record.exc_info:
            self.error = record.exc_info[1]
            self.seen.set()


@pytest.mark.parametrize("timeout", [None, WAIT])
@pytest.mark.parametrize("portal_class", [LocalPortal, HTTPPortal])
def test_an_error_while_a_stream_closes_is_logged(portal_class: Any, timeout: float | None) -> None:
    handler, log = Waiting("closing the stream of failing_close failed"), logging.getLogger("portal.calls")
    log.addHandler(handler)
    try:
        with portal_class() as portal, Consumer() as consumer:
            items = consumer.stream_at(portal.apply(failing_close), timeout=timeout)
            assert next(items) == 0
            items.close()
            assert handler.seen.wait(WAIT)
    finally:
        log.removeHandler(handler)
    assert str(handler.error) == "the disk is full"


def test_an_error_while_a_stream_closes_does_not_replace_the_error_that_ended_it() -> None:
    one = call(make(failing_close), streaming=True)
    items = Dispatcher().dispatch(one)
    assert next(items) == 0
    one.context.cancel()
    with pytest.raises(CallCancelled):
        next(items)


def cannot_start(patch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    patch.setattr(threading.Thread, "start", fail)


@pytest.mark.parametrize("responds", [True, False])
def test_a_call_that_nothing_could_watch_is_not_taken_for_watched(
    monkeypatch: pytest.MonkeyPatch, responds: bool
) -> None:
    """A middleware may try it again."""
    dispatcher, one = Dispatcher(), call(timeout=5.0)
    on_deadline = (lambda error: None) if responds else None
    with monkeypatch.context() as patch:
        cannot_start(patch)
        with pytest.raises(OverloadedError):
            dispatcher.dispatch(one, on_deadline)
    assert not one.context.watched
    assert dispatcher.stats()["running"] == 0
    dispatcher.dispatch(one, on_deadline)
    assert one.context.watched
    dispatcher.close()


def test_the_caller_gets_its_response_although_the_cancellation_fails() -> None:
    dispatcher, release, responded = Dispatcher(), threading.Event(), threading.Event()

    def wait() -> None:
        release.wait(10)

    class Failing(CallContext):
        __slots__ = ()

        def cancel(self) -> None:
            raise MemoryError

    one = Call(make(wait, name="wait"), {}, Failing.for_call(0.02))

    def respond(error: CallTimeout) -> None:
        responded.set()
        release.set()

    with pytest.raises(CallTimeout):
        dispatcher.dispatch(one, respond)
    assert responded.is_set()
    dispatcher.close()


def fail(value: Any = None) -> Any:
    raise KeyError(value)


def broken_layer(one: Call, call_next: CallNext) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize("middleware", [[], [tracing("a", [])], [broken_layer]])
@pytest.mark.parametrize("function", [echo, make(name="fail")(fail)])
def test_run_does_what_dispatch_does(function: Any, middleware: list[Any]) -> None:
    def outcome_of(method: str) -> tuple[Any, ...]:
        dispatcher = Dispatcher(middleware)
        one = call(function, value=1)
        try:
            result = getattr(dispatcher, method)(one)
        except PortalError as error:
            has_id = error.context["request_id"] == one.context.request_id
            result = type(error), str(error), error.context["operation"], has_id
        return result, dispatcher.stats(), CallContext.current()

    assert outcome_of("run") == outcome_of("dispatch")


def test_a_call_runs_in_the_thread_of_its_caller_unless_an_executor_of_threads_is_given() -> None:
    assert Dispatcher().runs_here
    with ThreadPoolExecutor(1) as pool:
        assert not Dispatcher(executor=pool).runs_here
