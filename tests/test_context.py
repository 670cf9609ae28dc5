"""CallContext, Identity, request ids, traces."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import context as module
from portal._internal.trace_context import parse_traceparent
from portal.context import CallContext, Identity, new_request_id
from portal.errors import CallCancelled, CallTimeout, ConfigError

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


# deadlines


@pytest.mark.parametrize(
    ("deadline", "timeout", "expected"),
    [(None, None, None), (None, 5, 105.0), (103.0, None, 103.0), (103.0, 5, 103.0), (109.0, 5, 105.0), (90.0, 5, 90.0)],
)
def test_a_child_has_the_earlier_deadline(
    clock: list[float], deadline: float | None, timeout: float | None, expected: float | None
) -> None:
    assert CallContext(deadline=deadline).child(timeout=timeout).deadline == expected


@given(st.none() | st.floats(-1e6, 1e6), st.lists(st.none() | st.floats(0, 1e6), max_size=5))
def test_a_nested_deadline_is_never_later(deadline: float | None, timeouts: list[float | None]) -> None:
    context = CallContext(deadline=deadline)
    for timeout in timeouts:
        nested = context.child(timeout=timeout)
        assert context.deadline is None or (nested.deadline is not None and nested.deadline <= context.deadline)
        context = nested


def test_remaining_and_expired(clock: list[float]) -> None:
    context = CallContext(deadline=102.0)
    assert (context.remaining(), context.expired) == (2.0, False)
    clock[0] = 102.0
    assert (context.remaining(), context.expired) == (0.0, True)
    clock[0] = 200.0
    assert context.remaining() == 0.0
    assert (CallContext().remaining(), CallContext().expired) == (None, False)


@pytest.mark.parametrize(
    ("deadline", "timeout", "watched"), [(103.0, None, True), (103.0, 9, True), (103.0, 1, False), (None, 1, False)]
)
def test_a_child_with_the_deadline_of_a_watched_parent_is_watched(
    clock: list[float], deadline: float | None, timeout: float | None, watched: bool
) -> None:
    parent = CallContext(deadline=deadline)
    parent.watched = True
    assert parent.child(timeout=timeout).watched is watched


def test_check_raises_after_the_deadline_and_when_cancelled(clock: list[float]) -> None:
    context = CallContext(request_id="r1", deadline=101.0)
    context.check()
    clock[0] = 101.0
    with pytest.raises(CallTimeout) as late:
        context.check()
    assert late.value.request_id == "r1"
    context.cancel()  # as at each deadline
    with pytest.raises(CallTimeout):
        context.check()
    context = CallContext(request_id="r2", deadline=102.0)
    context.cancel()
    with pytest.raises(CallCancelled) as cancelled:
        context.child().check()
    assert cancelled.value.request_id == "r2"


# cancellation


def test_cancellation_reaches_nested_calls_only() -> None:
    top = CallContext()
    middle = top.child()
    leaf, sibling = middle.child(), top.child()
    middle.cancel()
    assert [context.cancelled for context in (top, middle, leaf, sibling)] == [False, True, True, False]
    assert leaf.child().cancelled


def test_on_cancel_calls_each_callback_once() -> None:
    calls: list[str] = []
    context = CallContext()
    context.on_cancel(lambda: calls.append("first"))
    context.on_cancel(lambda: calls.append("second"))
    assert calls == []
    context.cancel()
    context.cancel()
    assert calls == ["first", "second"]
    context.on_cancel(lambda: calls.append("late"))
    assert calls == ["first", "second", "late"]


def test_on_cancel_of_a_nested_call_with_a_cancelled_parent() -> None:
    calls: list[int] = []
    parent = CallContext()
    nested = parent.child().child()
    parent.cancel()
    nested.on_cancel(lambda: calls.append(1))
    assert calls == [1]
    nested.cancel()
    assert calls == [1]


def test_cancelling_a_parent_runs_the_callbacks_of_nested_calls() -> None:
    calls: list[str] = []
    parent = CallContext()
    nested = parent.child().child()
    nested.on_cancel(lambda: calls.append("nested"))
    parent.on_cancel(lambda: calls.append("parent"))
    parent.child().on_cancel(lambda: calls.append("ended before"))
    nested.parent.on_cancel(lambda: calls.append("middle"))  # type: ignore[union-attr]
    parent.cancel()
    nested.cancel()
    assert calls == ["parent", "middle", "nested"]


def test_a_callback_that_fails_does_not_keep_the_others_from_running(caplog: pytest.LogCaptureFixture) -> None:
    context, ran = CallContext(request_id="r1"), []

    def fail() -> None:
        raise OSError("the disk is full")

    context.on_cancel(fail)
    context.on_cancel(lambda: ran.append("own"))
    nested = context.child()
    nested.on_cancel(lambda: ran.append("nested"))
    context.cancel()
    assert ran == ["own", "nested"]
    assert [record.getMessage() for record in caplog.records] == ["a callback of on_cancel failed: request_id=r1"]
    with pytest.raises(OSError, match="the disk is full"):
        context.on_cancel(fail)  # the context is already cancelled: the callback runs here


def test_a_callback_may_use_the_context() -> None:
    context, seen = CallContext(), []
    context.on_cancel(lambda: context.on_cancel(lambda: seen.append(context.cancelled)))
    context.cancel()
    assert seen == [True]


def test_cancel_from_many_threads_calls_back_once() -> None:
    calls: list[int] = []
    context, start = CallContext(), threading.Barrier(8)
    context.on_cancel(lambda: calls.append(1))

    def cancel() -> None:
        start.wait(10)
        context.cancel()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(cancel) for _ in range(8)]:
            future.result(10)
    assert calls == [1]


# inheritance


def test_a_nested_call_inherits() -> None:
    identity = Identity("ann", frozenset({"orders"}))
    parent = CallContext(
        request_id="r1", identity=identity, tracestate="a=1", baggage={"a": "1"}, metadata={"only": "parent"}
    )
    nested = parent.child(baggage={"b": "2"}, metadata={"only": "child"})
    assert (nested.request_id, nested.identity, nested.parent) == ("r1", identity, parent)
    assert nested.baggage == {"a": "1", "b": "2"}
    assert nested.metadata == {"only": "child"}
    assert parent.baggage == {"a": "1"}
    assert parent.child().baggage == {"a": "1"}
    assert parent.child().metadata == {}


def test_a_nested_call_is_in_the_trace_with_a_parent_id_of_its_own() -> None:
    parent = CallContext(traceparent=f"cc-{TRACE}-{SPAN}-ff-future", tracestate="a=1")
    calls = [parent.child(), parent.child(), parent.child().child()]
    parts = [str(call.traceparent).split("-") for call in calls]
    assert [part[:2] + part[3:] for part in parts] == [["00", TRACE, "03"]] * 3
    assert len({SPAN, *[part[2] for part in parts]}) == 4
    assert {call.tracestate for call in calls} == {"a=1"}


@pytest.mark.parametrize("traceparent", [None, "t"])
def test_nested_calls_without_a_trace_start_one_and_share_it(traceparent: str | None) -> None:
    outermost = CallContext(traceparent=traceparent, tracestate="a=1")
    calls = [outermost.child(), outermost.child(), outermost.child().child()]
    assert {(call.traceparent, call.tracestate) for call in calls} == {(None, None)}
    parts = [str(call.start_trace()).split("-") for call in calls]
    assert [part[0] + part[3] for part in parts] == ["0002"] * 3
    assert len({part[1] for part in parts}) == 1
    assert len({part[2] for part in parts}) == 3
    assert all(parse_traceparent(call.traceparent) for call in calls)
    assert outermost.start_trace() is None
    assert outermost.traceparent == traceparent


def test_calls_in_many_threads_start_one_trace() -> None:
    outermost = CallContext()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: str(outermost.child().start_trace()), range(64)))
    assert len({one.split("-")[1] for one in found}) == 1
    assert len(set(found)) == 64


def test_a_request_id_made_by_a_nested_call_is_shared() -> None:
    parent = CallContext()
    nested = parent.child().child()
    assert nested.request_id == parent.request_id == parent.request_id


def test_current_and_active() -> None:
    outer, inner = CallContext(), CallContext()
    assert CallContext.current() is None
    with outer.active() as entered:
        assert entered is outer
        with inner.active():
            assert CallContext.current() is inner
        assert CallContext.current() is outer
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(CallContext.current).result(10) is None
    assert CallContext.current() is None


def test_an_error_ends_the_active_block() -> None:
    def fail() -> None:
        with CallContext().active():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert CallContext.current() is None


def test_a_new_call_is_nested_in_the_given_or_the_running_call(clock: list[float]) -> None:
    assert CallContext.for_call().deadline is None
    assert CallContext.for_call(2).deadline == 102.0
    running, given_one = CallContext(deadline=101.0), CallContext(deadline=150.0)
    with running.active():
        assert CallContext.for_call(2).parent is running
        assert CallContext.for_call(2).deadline == 101.0
        nested = CallContext.for_call(2, given_one)
    assert (nested.parent, nested.deadline) == (given_one, 102.0)


def test_repr_has_the_remaining_time(clock: list[float]) -> None:
    assert repr(CallContext(request_id="r1", deadline=101.23456)) == "CallContext(request_id='r1', remaining=1.235)"
    assert repr(CallContext(request_id="r1")) == "CallContext(request_id='r1', remaining=None)"


def test_the_clock_is_monotonic() -> None:
    before = monotonic()
    deadline = CallContext.for_call(10).deadline
    assert deadline is not None
    assert before + 10 <= deadline <= monotonic() + 10


def test_the_scopes_of_an_identity_are_a_set() -> None:
    identity = Identity("ann", scopes=["a", "b", "a"], claims={"x": 1})  # type: ignore[arg-type]
    assert identity.scopes == frozenset({"a", "b"})
    assert identity == Identity("ann", frozenset({"a", "b"}))
    assert identity != Identity("bob", frozenset({"a", "b"}))
    assert hash(identity) == hash(Identity("ann", frozenset({"a", "b"})))


# request ids


def test_request_ids_are_unique_across_threads() -> None:
    start = threading.Barrier(8)

    def many() -> list[str]:
        start.wait(10)
        return [new_request_id() for _ in range(2000)]

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(many) for _ in range(8)]
        ids = [text for future in futures for text in future.result(10)]
    assert len(set(ids)) == len(ids) == 16_000
    assert len({text.partition("-")[0] for text in ids}) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_its_own_prefix() -> None:
    mine = new_request_id()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, new_request_id().encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        theirs = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    prefix, _, number = theirs.partition("-")
    assert (len(prefix), number) == (12, "1")
    assert prefix != mine.partition("-")[0] == new_request_id().partition("-")[0]


@pytest.mark.parametrize("scopes", ["read", "", b"read"])
def test_scopes_must_be_several_strings(scopes: Any) -> None:
    with pytest.raises(ConfigError) as info:
        Identity("ann", scopes)
    assert info.value.path == "identity.scopes"
    assert Identity("ann", ["read"]).scopes == {"read"}  # type: ignore[arg-type]


def test_a_callback_that_is_forgotten_does_not_run() -> None:
    context, ran = CallContext(), []
    context.on_cancel(lambda: ran.append("first"))

    def second() -> None:
        ran.append("second")

    context.on_cancel(second)
    context.forget(second)
    context.forget(second)  # twice is no fault
    context.cancel()
    assert ran == ["first"]
    context.forget(second)


def test_what_a_call_uses_is_added_to_the_calls_around_it() -> None:
    outer = CallContext()
    inner = outer.child()
    assert inner.usage == {}
    inner.add_usage("fuel", 5)
    inner.add_usage("fuel", 2)
    outer.add_usage("rows", 1)
    assert inner.usage == {"fuel": 7}
    assert outer.usage == {"fuel": 7, "rows": 1}
    assert CallContext().usage == {}
