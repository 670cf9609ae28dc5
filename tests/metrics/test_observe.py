from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from itertools import count
from time import perf_counter
from typing import Any

import pytest

from portal import CallContext, LocalPortal, function
from portal.calls.middleware import Call, build_chain
from portal.context import Identity
from portal.errors import ConfigError, RateLimitError
from portal.metrics.observe import DURATIONS, OTHER, CallMetrics, CallRecord, FunctionCounts, Observe


@function
def add(a: int, b: int) -> int:
    return a + b


@function
def ticks(n: int) -> Iterator[int]:
    yield from range(n)


def call_of(streaming: bool = False, **settings: Any) -> Call:
    return Call(ticks if streaming else add, {"a": 1, "b": 2}, CallContext(), streaming=streaming, **settings)


def observed(result: Any, call: Call, **settings: Any) -> tuple[list[CallRecord], Any]:
    """What the hook is told of a call whose function gives or raises `result`, and what the call gives."""
    seen: list[CallRecord] = []

    def last(call: Call) -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    chain = build_chain([Observe(seen.append, clock=count(5.0, 0.25).__next__, **settings)], last)
    try:
        return seen, chain(call)
    except BaseException as error:
        return seen, error


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (3, "ok"),
        (RateLimitError("no"), "rate_limited"),
        (RateLimitError("no", code="my_code"), "my_code"),
        (ValueError("no"), "portal_error"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_each_call_once(result: Any, code: str) -> None:
    seen, given = observed(result, call_of())
    assert given is result
    assert seen == [CallRecord("add", 0.25, code)]


def test_what_is_known_of_the_caller_and_the_group() -> None:
    call = call_of(peer="192.0.2.1")
    call.context.identity = Identity("ann")
    call.group = "sums"
    seen, _ = observed(3, call)
    assert seen == [CallRecord("sums/add", 0.25, "ok", peer_known=True, identified=True)]


def test_a_stream_is_observed_at_its_end() -> None:
    seen, items = observed(iter([1, 2]), call_of(True))
    assert seen == []
    assert list(items) == [1, 2]
    items.close()
    assert [(one.code, one.items, one.streaming) for one in seen] == [("ok", 2, True)]


def test_a_stream_that_fails() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise RateLimitError("no")

    seen, items = observed(failing(), call_of(True))
    with pytest.raises(RateLimitError):
        list(items)
    del items
    assert [(one.code, one.items) for one in seen] == [("rate_limited", 1)]


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize(("deadline", "code"), [(None, "cancelled"), (0.001, "timeout")])
def test_a_stream_that_nobody_reads_on(begun: bool, deadline: float | None, code: str) -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            yield from count()
        finally:
            closed.append(True)

    call = call_of(True)
    call.context.deadline = deadline
    seen, items = observed(endless(), call)
    if begun:
        next(items)
    items.close()
    assert [(one.code, one.items) for one in seen] == [(code, int(begun))]
    assert closed == [True] * begun


def test_a_stream_that_is_dropped() -> None:
    seen, items = observed(iter([1]), call_of(True))
    del items
    assert [one.code for one in seen] == ["cancelled"]


def test_a_hook_that_fails_harms_no_call_and_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]

    def hook(observation: CallRecord) -> None:
        raise ZeroDivisionError

    chain = build_chain([Observe(hook, clock=lambda: now[0])], lambda call: 3)
    with caplog.at_level(logging.ERROR, "portal.calls"):
        assert [chain(call_of()) for _ in range(3)] == [3, 3, 3]
        assert len(caplog.records) == 1
        now[0] = 61.0
        assert chain(call_of()) == 3
        assert len(caplog.records) == 2


def test_counts_in_a_portal() -> None:
    counters = CallMetrics()
    with LocalPortal(middleware=[Observe(counters)]) as portal:
        portal.resolve_function(portal.apply(add))(a=1, b=2)
        assert list(portal.resolve_function(portal.apply(ticks)).stream(n=3)) == [0, 1, 2]
    counts = counters.snapshot()
    assert {name: one.codes for name, one in counts.items()} == {"add": {"ok": 1}, "ticks": {"ok": 1}}


def test_durations_and_quantiles() -> None:
    counters = CallMetrics(boundaries=[0.1, 1.0])
    for seconds, code in [(0.05, "ok"), (0.1, "ok"), (0.5, "timeout"), (9.0, "ok")]:
        counters(CallRecord("f", seconds, code))
    counts = counters.snapshot()["f"]
    assert (counts.calls, counts.failed, counts.durations) == (4, 1, (2, 1, 1))
    assert counts.seconds == pytest.approx(9.65)
    assert [counts.quantile(share) for share in (0.5, 0.75, 1.0)] == [0.1, 1.0, float("inf")]
    assert FunctionCounts({}, 0.0, (1.0,), (0, 0)).quantile(0.5) is None


def test_functions_and_codes_are_bounded() -> None:
    counters = CallMetrics(max_functions=2)
    for number in range(5):
        counters(CallRecord(f"f{number}", 0.1, "ok"))
        counters(CallRecord(f"f{number}", 0.1, "ok"))
    assert {name: counts.calls for name, counts in counters.snapshot().items()} == {"f0": 2, "f1": 2, OTHER: 6}
    for number in range(100):
        counters(CallRecord("f0", 0.1, f"code{number}"))
    codes = counters.snapshot()["f0"].codes
    assert len(codes) <= 65
    assert sum(codes.values()) == 102


def test_nothing_is_lost_when_threads_end() -> None:
    counters = CallMetrics()

    def work() -> None:
        for _ in range(200):
            counters(CallRecord("f", 0.001, "ok"))

    for _ in range(3):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        counters.snapshot()
        for thread in threads:
            thread.join(30)
    assert counters.snapshot()["f"].calls == 2400
    assert counters._live == []
    work()
    assert counters.snapshot()["f"].calls == 2600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_begins_at_zero() -> None:
    counters = CallMetrics()
    counters(CallRecord("f", 0.1, "ok"))
    with counters._lock:  # as when another thread forks in the middle of a snapshot
        child = os.fork()
        if child == 0:
            counters(CallRecord("g", 0.1, "ok"))
            os._exit(0 if list(counters.snapshot()) == ["g"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(counters.snapshot()) == ["f"]


def test_it_is_cheap() -> None:
    chain = build_chain([Observe(CallMetrics())], lambda call: 3)
    call = call_of()
    best = float("inf")
    for _ in range(5):
        begun = perf_counter()
        for _ in range(2000):
            chain(call)
        best = min(best, (perf_counter() - begun) / 2000)
    assert best < 30e-6  # about 2 us on a machine that does nothing else; coverage and neighbours slow it down


@pytest.mark.parametrize(
    "make",
    [
        lambda: Observe(3),  # type: ignore[arg-type]
        lambda: CallMetrics(boundaries=[]),
        lambda: CallMetrics(boundaries=[1.0, 1.0]),
        lambda: CallMetrics(boundaries=[0.0, 1.0]),
        lambda: CallMetrics(max_functions=0),
        lambda: CallMetrics(max_functions=True),
    ],
)
def test_wrong_settings(make: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.path.startswith(("observe.", "metrics."))
    assert sorted(DURATIONS) == list(DURATIONS)
