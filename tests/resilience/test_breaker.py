from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import Any

import pytest

from portal import errors
from portal import function as make
from portal.address import Address
from portal.calls.middleware import Call
from portal.context import CallContext
from portal.errors import CircuitOpenError, ConfigError, PortalError
from portal.resilience.breaker import Breaker, CircuitSnapshot, authority_of, counts_as_failure
from portal.resilience.retry import Retry
from tests.support.clocks import Clock

WAIT = 10.0


@make
def work(n: int = 0) -> int:
    return n


@make
def items() -> Iterator[int]:
    yield 1


def call_of(address: str | None = "http://a:1/api/work", *, timeout: float | None = None, function: Any = work) -> Call:
    target = None if address is None else Address.parse(address)
    return Call(function, {}, CallContext.for_call(timeout), target, streaming=function.schema.streaming)


def fail(call: Call) -> Any:
    raise errors.TransportError("gone")


def succeed(call: Call) -> Any:
    return "ok"


def failing(error: BaseException) -> Callable[[Call], Any]:
    def peer(call: Call) -> Any:
        raise error

    return peer


def try_call(breaker: Breaker, peer: Callable[[Call], Any], address: str = "http://a:1/api/work") -> str:
    try:
        return str(breaker(call_of(address), peer))
    except CircuitOpenError:
        return "rejected"
    except PortalError:
        return "failed"


def state(breaker: Breaker, key: str = "a:1") -> CircuitSnapshot:
    return breaker.states()[key]


def opened(clock: Clock, **options: Any) -> Breaker:
    """Return a breaker whose circuit a:1 has just opened."""
    breaker = Breaker(1, clock=clock, **options)
    assert try_call(breaker, fail) == "failed"
    assert state(breaker).state == "open"
    return breaker


def test_a_circuit_opens_half_opens_and_closes() -> None:
    clock = Clock()
    changes: list[tuple[str, str, str]] = []
    breaker = Breaker(3, open_duration=30.0, clock=clock, on_change=lambda *change: changes.append(change))
    assert breaker.states() == {}
    assert [try_call(breaker, fail) for _ in range(4)] == ["failed", "failed", "failed", "rejected"]
    assert state(breaker) == CircuitSnapshot("open", 3, 1000.0, 30.0, 0, 1)
    clock.now += 29.5
    with pytest.raises(CircuitOpenError, match=r"a:1 is open for another 0\.5 s") as caught:
        breaker(call_of(), succeed)
    assert caught.value.retry_after == pytest.approx(0.5)
    assert caught.value.retryable
    assert caught.value.address == "http://a:1/api/work"
    assert caught.value.scheme == "http"
    assert caught.value.request_id
    clock.now += 0.5
    assert state(breaker).retry_after == 0.0
    assert try_call(breaker, fail) == "failed"
    assert try_call(breaker, succeed) == "rejected"
    clock.now += 30
    assert try_call(breaker, succeed) == "ok"
    assert state(breaker) == CircuitSnapshot("closed", 0, 1029.5 + 0.5, 0.0, 0, 3)
    assert changes == [
        ("a:1", "closed", "open"),
        ("a:1", "open", "half_open"),
        ("a:1", "half_open", "open"),
        ("a:1", "open", "half_open"),
        ("a:1", "half_open", "closed"),
    ]


def test_a_success_clears_the_failures_before_it() -> None:
    breaker = Breaker(2, clock=Clock())
    for _ in range(10):
        assert try_call(breaker, fail) == "failed"
        assert try_call(breaker, succeed) == "ok"
    assert state(breaker).state == "closed"


def test_failures_within_the_window_count_despite_successes() -> None:
    clock = Clock()
    breaker = Breaker(3, window=10.0, consecutive=False, clock=clock)
    for seconds in (0.0, 6.0, 4.0):  # the first one is outside the window when the third one comes
        clock.now += seconds
        assert try_call(breaker, fail) == "failed"
        assert try_call(breaker, succeed) == "ok"
    assert state(breaker).failures == 2
    assert try_call(breaker, fail) == "failed"
    assert state(breaker).state == "open"


def test_failures_older_than_the_window_do_not_count() -> None:
    clock = Clock()
    breaker = Breaker(2, window=10.0, clock=clock)
    for _ in range(5):
        assert try_call(breaker, fail) == "failed"
        clock.now += 10.0
    assert state(breaker).state == "closed"
    assert state(breaker).failures == 0


def test_rate_applies_from_the_minimum_of_calls() -> None:
    breaker = Breaker(None, rate=0.5, minimum_calls=10, clock=Clock())
    for _ in range(4):
        assert try_call(breaker, succeed) == "ok"
        assert try_call(breaker, fail) == "failed"
    assert state(breaker).state == "closed"
    assert try_call(breaker, fail) == "failed"
    assert state(breaker).state == "closed"
    assert state(breaker).failures == 5
    assert try_call(breaker, fail) == "failed"
    assert state(breaker).state == "open"


def test_old_calls_and_calls_before_closing_do_not_count_for_the_rate() -> None:
    clock = Clock()
    breaker = Breaker(None, rate=0.5, minimum_calls=4, window=10.0, open_duration=1.0, clock=clock)
    for _ in range(3):
        try_call(breaker, fail)
        clock.now += 3
    clock.now += 2  # 11 s after the first
    try_call(breaker, fail)
    assert state(breaker).state == "closed"
    try_call(breaker, fail)
    assert state(breaker).state == "open"
    clock.now += 1
    assert try_call(breaker, succeed) == "ok"
    assert state(breaker) == CircuitSnapshot("closed", 0, clock.now - 1, 0.0, 0, 0)


# which errors are failures of the peer

VERDICTS: list[tuple[PortalError, bool]] = [
    (errors.TransportError("t"), True),
    (errors.TransportError("t", delivery="not_sent"), True),
    (errors.CallTimeout("t"), True),
    (errors.OverloadedError("o"), True),
    (errors.ProtocolError("p", status=502), True),
    (errors.ProtocolError("p", status=404), False),
    (errors.ProtocolError("p"), False),
    (errors.ValidationError("v"), False),
    (errors.FunctionError("f"), False),
    (errors.RateLimitError("r"), False),
    (errors.AuthenticationError("a"), False),
    (errors.AuthorizationError("a"), False),
    (errors.CallCancelled("c"), False),
    (CircuitOpenError("c"), False),
    (PortalError("p"), False),
]


@pytest.mark.parametrize(("error", "counts"), VERDICTS, ids=lambda value: getattr(value, "code", str(value)))
def test_which_errors_count_as_failures(error: PortalError, counts: bool) -> None:
    assert counts_as_failure(error) is counts
    breaker = Breaker(1, clock=Clock())
    with pytest.raises(type(error)):
        breaker(call_of(), failing(error))
    assert state(breaker).state == ("open" if counts else "closed")


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (errors.FunctionError("the peer is running"), "closed"),
        (errors.RateLimitError("r"), "closed"),
        (errors.AuthenticationError("a"), "closed"),
        (errors.ValidationError("maybe from this side"), "half_open"),
        (errors.CallCancelled("c"), "half_open"),
        (KeyError("a defect"), "half_open"),
        (KeyboardInterrupt(), "half_open"),
    ],
)
def test_the_outcome_of_a_half_open_call(error: BaseException, after: str) -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    with pytest.raises(type(error)):
        breaker(call_of(), failing(error))
    assert state(breaker).state == after
    assert state(breaker).half_open_calls == 0
    assert try_call(breaker, succeed) == "ok"  # the call no longer counts


def test_is_failure_decides_which_errors_count() -> None:
    breaker = Breaker(1, clock=Clock(), is_failure=lambda error: error.code == "function_error")
    assert try_call(breaker, fail) == "failed"
    assert state(breaker).state == "closed"
    assert try_call(breaker, failing(errors.FunctionError("f"))) == "failed"
    assert state(breaker).state == "open"


# keys


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("http://a:1/api/work", "a:1"),
        ("https://[::1]:8443/api/work", "[::1]:8443"),
        ("local://work", "work"),
        (None, "work"),
    ],
)
def test_each_authority_has_a_circuit(address: str | None, key: str) -> None:
    assert authority_of(call_of(address)) == key
    breaker = Breaker(clock=Clock())
    breaker(call_of(address), succeed)
    assert list(breaker.states()) == [key]


def test_circuits_are_independent() -> None:
    breaker = opened(Clock())
    assert try_call(breaker, succeed) == "rejected"
    assert try_call(breaker, succeed, "http://a:2/api/work") == "ok"
    by_name = Breaker(1, clock=Clock(), key=lambda call: call.function.name)
    assert try_call(by_name, fail) == "failed"
    assert try_call(by_name, succeed, "http://a:2/api/work") == "rejected"


def test_the_number_of_circuits_is_limited_and_closed_ones_are_removed_first() -> None:
    breaker = Breaker(1, max_entries=3, clock=Clock())
    assert try_call(breaker, fail, "http://a:1/x") == "failed"
    for port in (2, 3, 4, 5, 6):
        assert try_call(breaker, succeed, f"http://a:{port}/x") == "ok"
    assert list(breaker.states()) == ["a:1", "a:5", "a:6"]
    assert try_call(breaker, fail, "http://a:5/x") == "failed"
    assert try_call(breaker, fail, "http://a:6/x") == "failed"
    assert try_call(breaker, succeed, "http://a:7/x") == "ok"  # all are open, so the oldest one is removed
    assert list(breaker.states()) == ["a:5", "a:6", "a:7"]


def test_a_circuit_may_be_removed_during_its_call() -> None:
    breaker = Breaker(1, max_entries=1, clock=Clock())

    def peer(call: Call) -> Any:
        assert try_call(breaker, succeed, "http://a:2/x") == "ok"
        raise errors.TransportError("gone")

    assert try_call(breaker, peer) == "failed"
    assert breaker.states()["a:2"].state == "closed"


# reset and force_open


def test_reset_and_force_open() -> None:
    clock = Clock()
    changes: list[tuple[str, str, str]] = []
    breaker = Breaker(clock=clock, on_change=lambda *change: changes.append(change))
    breaker.force_open("a:1")
    clock.now += 1e9
    with pytest.raises(CircuitOpenError, match="until it is reset") as caught:
        breaker(call_of(), succeed)
    assert caught.value.retry_after is None
    assert not caught.value.retryable
    assert state(breaker).retry_after is None
    breaker.force_open("a:1", 5.0)
    assert state(breaker).retry_after == 5.0
    clock.now += 5
    assert try_call(breaker, succeed) == "ok"
    breaker.force_open("a:1")
    breaker.force_open("b:1")
    breaker.reset("a:1")
    breaker.reset("unknown")
    assert {key: one.state for key, one in breaker.states().items()} == {"a:1": "closed", "b:1": "open"}
    breaker.reset()
    assert {one.state for one in breaker.states().values()} == {"closed"}
    assert changes == [
        ("a:1", "closed", "open"),
        ("a:1", "open", "half_open"),
        ("a:1", "half_open", "closed"),
        ("a:1", "closed", "open"),
        ("b:1", "closed", "open"),
        ("a:1", "open", "closed"),
        ("b:1", "open", "closed"),
    ]


def test_a_failing_on_change_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*change: str) -> None:
        raise RuntimeError("oops")

    with caplog.at_level(logging.WARNING, logger="portal.calls"):
        breaker = opened(Clock(), on_change=broken)
    assert try_call(breaker, succeed) == "rejected"
    assert [record.getMessage() for record in caplog.records] == [
        "circuit a:1: closed -> open",
        "on_change of circuit a:1 failed",
    ]


def test_on_change_may_use_the_breaker() -> None:
    seen: list[str] = []
    breaker = Breaker(1, clock=Clock(), on_change=lambda key, before, after: seen.append(breaker.states()[key].state))
    try_call(breaker, fail)
    assert seen == ["open"]


def test_retry_waits_for_the_circuit() -> None:
    clock = Clock()
    breaker = opened(clock, open_duration=3.0)
    slept: list[float] = []

    def sleep(seconds: float, context: CallContext) -> None:
        slept.append(seconds)
        clock.now += seconds

    retry = Retry(sleep=sleep, clock=clock, random=lambda: 0.0)
    assert retry(call_of(), lambda call: breaker(call, succeed)) == "ok"
    assert slept == [3.0]


def test_retry_does_not_wait_for_a_circuit_that_has_just_opened() -> None:
    clock = Clock()
    breaker = opened(clock)
    retry = Retry(sleep=lambda seconds, context: pytest.fail(f"slept for {seconds} s"), clock=clock)
    with pytest.raises(CircuitOpenError, match="open for another 30") as caught:
        retry(call_of(), lambda call: breaker(call, succeed))
    assert caught.value.context["attempts"] == 1


def test_a_rejected_call_says_why_the_circuit_is_open() -> None:
    unreachable = errors.TransportError("a:1 cannot be reached: connection refused", delivery="not_sent")

    def secret(call: Call) -> Any:
        raise errors.FunctionError("the password is 1234")

    def reject(call: Call) -> Any:
        raise unreachable

    breaker = Breaker(1)
    with pytest.raises(errors.TransportError):
        breaker(call_of(), reject)
    with pytest.raises(CircuitOpenError, match="nothing was sent; its last failure: a:1 cannot be reached: connection"):
        breaker(call_of(), succeed)
    assert breaker.states()["a:1"].last_failure == unreachable.message
    breaker = Breaker(1, is_failure=lambda error: True)
    with pytest.raises(errors.FunctionError):
        breaker(call_of(), secret)
    with pytest.raises(CircuitOpenError, match="its last failure: function_error") as caught:
        breaker(call_of(), succeed)
    assert "1234" not in str(caught.value)


# late outcomes and half-open calls in threads


class Gate:
    """A peer that waits inside the call for `go`, and then returns or raises."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.go = threading.Event()
        self.error: PortalError | None = None

    def __call__(self, call: Call) -> Any:
        self.inside.release()
        assert self.go.wait(WAIT)
        if self.error is not None:
            raise self.error
        return "ok"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


@pytest.mark.parametrize("late_failure", [True, False])
def test_a_late_outcome_from_before_the_opening_has_no_effect(pool: ThreadPoolExecutor, late_failure: bool) -> None:
    clock = Clock()
    breaker = Breaker(1, clock=clock, open_duration=30.0)
    late, half_open = Gate(), Gate()
    late.error = errors.TransportError("late") if late_failure else None
    first = pool.submit(try_call, breaker, late)
    assert late.inside.acquire(timeout=WAIT)
    assert try_call(breaker, fail) == "failed"
    clock.now += 30
    second = pool.submit(try_call, breaker, half_open)
    assert half_open.inside.acquire(timeout=WAIT)
    late.go.set()
    assert first.result(WAIT) == ("failed" if late_failure else "ok")
    assert state(breaker).state == "half_open"
    assert state(breaker).half_open_calls == 1
    half_open.go.set()
    assert second.result(WAIT) == "ok"
    assert state(breaker).state == "closed"


@pytest.mark.parametrize("permitted", [1, 3])
def test_a_half_open_circuit_admits_exactly_its_number_of_calls(pool: ThreadPoolExecutor, permitted: int) -> None:
    clock = Clock()
    breaker = opened(clock, half_open_calls=permitted)
    clock.now += 30
    gate = Gate()
    calls = [pool.submit(try_call, breaker, gate) for _ in range(12)]
    for _ in range(permitted):
        assert gate.inside.acquire(timeout=WAIT)
    rejected = list(islice(as_completed(calls, WAIT), 12 - permitted))
    assert {one.result() for one in rejected} == {"rejected"}
    snapshot = state(breaker)
    assert snapshot.state == "half_open"
    assert snapshot.half_open_calls == permitted
    assert snapshot.retry_after == 1.0
    gate.go.set()
    assert [one.result(WAIT) for one in calls].count("ok") == permitted
    assert state(breaker).state == "closed"


def test_no_lock_is_held_during_a_call(pool: ThreadPoolExecutor) -> None:
    breaker = Breaker(clock=Clock())
    gate = Gate()
    calls = [pool.submit(try_call, breaker, gate) for _ in range(8)]
    for _ in range(8):  # all calls are inside at the same time
        assert gate.inside.acquire(timeout=WAIT)
    assert state(breaker).state == "closed"
    gate.go.set()
    assert [one.result(WAIT) for one in calls] == ["ok"] * 8


def test_a_half_open_call_that_does_not_return_stops_counting(pool: ThreadPoolExecutor) -> None:
    clock = Clock()
    breaker = opened(clock, open_duration=30.0)
    clock.now += 30
    gate = Gate()
    stuck = pool.submit(try_call, breaker, gate)
    assert gate.inside.acquire(timeout=WAIT)
    clock.now += 29.9
    assert try_call(breaker, succeed) == "rejected"
    assert state(breaker).retry_after == pytest.approx(0.1)
    clock.now += 0.1
    assert state(breaker).half_open_calls == 0
    assert state(breaker).retry_after == 0.0
    assert try_call(breaker, succeed) == "ok"
    assert state(breaker).state == "closed"
    gate.error = errors.TransportError("late")
    gate.go.set()
    assert stuck.result(WAIT) == "failed"
    assert state(breaker).state == "closed"


def test_a_half_open_call_stops_counting_at_its_deadline() -> None:
    clock = Clock()
    breaker = opened(clock, open_duration=30.0)
    clock.now += 30
    inner: list[str] = []

    def stuck(call: Call) -> Any:
        inner.append(try_call(breaker, succeed))
        clock.now += 2.0
        inner.append(try_call(breaker, succeed))
        return "late"

    assert breaker(call_of(timeout=2.0), stuck) == "late"
    assert inner == ["rejected", "ok"]


# streams


def stream_of(breaker: Breaker, *outcomes: Any) -> Any:
    def peer(call: Call) -> Iterator[Any]:
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome

    return breaker(call_of(function=items), peer)


def test_a_stream_is_a_success_at_its_first_item() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    stream = iter(stream_of(breaker, 1, 2))
    assert state(breaker).state == "half_open"
    assert next(stream) == 1
    assert state(breaker).state == "closed"
    assert list(stream) == [2]
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    assert list(stream_of(breaker)) == []
    assert state(breaker).state == "closed"


def test_a_stream_that_breaks_off_is_a_failure() -> None:
    breaker = Breaker(1, clock=Clock())
    stream = stream_of(breaker, 1, errors.TransportError("cut"))
    assert next(stream) == 1
    with pytest.raises(errors.TransportError):
        next(stream)
    assert state(breaker).state == "open"
    breaker = Breaker(1, clock=Clock())
    with pytest.raises(errors.OverloadedError):
        breaker(call_of(function=items), failing(errors.OverloadedError("o")))
    assert state(breaker).state == "open"


@pytest.mark.parametrize("end", ["close", "defect", "begin"])
def test_an_abandoned_stream_stops_counting(end: str) -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    if end == "begin":
        with pytest.raises(KeyError):
            breaker(call_of(function=items), failing(KeyError("x")))
    elif end == "close":
        stream = breaker(call_of(function=items), lambda call: [1])
        assert state(breaker).half_open_calls == 1
        stream.close()
        stream.close()
    else:
        with pytest.raises(KeyError):
            next(stream_of(breaker, KeyError("x")))
    assert state(breaker).state == "half_open"
    assert state(breaker).half_open_calls == 0


def test_closing_a_stream_closes_its_source() -> None:
    closed: list[bool] = []

    def peer(call: Call) -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    stream = Breaker(clock=Clock())(call_of(function=items), peer)
    assert next(stream) == 1
    stream.close()
    assert closed == [True]


# settings


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"failures": 0}, "breaker.failures"),
        ({"failures": True}, "breaker.failures"),
        ({"failures": 10_001}, "breaker.failures"),
        ({"failures": None}, "breaker.failures"),
        ({"minimum_calls": 1.5}, "breaker.minimum_calls"),
        ({"half_open_calls": -1}, "breaker.half_open_calls"),
        ({"max_entries": 0}, "breaker.max_entries"),
        ({"window": 0}, "breaker.window"),
        ({"window": math.inf}, "breaker.window"),
        ({"open_duration": "30"}, "breaker.open_duration"),
        ({"rate": 0}, "breaker.rate"),
        ({"rate": 1.1}, "breaker.rate"),
        ({"rate": True}, "breaker.rate"),
        ({"key": "authority"}, "breaker.key"),
        ({"is_failure": 5}, "breaker.is_failure"),
        ({"on_change": "print"}, "breaker.on_change"),
    ],
)
def test_wrong_settings_are_rejected(options: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Breaker(**options)
    assert caught.value.path == path
    assert caught.value.expected


def test_force_open_rejects_negative_seconds() -> None:
    with pytest.raises(ConfigError) as caught:
        Breaker().force_open("a:1", -1.0)
    assert caught.value.path == "breaker.force_open"


@pytest.mark.parametrize("step", ["on_change", "is_failure", "log"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("wrong"), SystemExit(1)], ids=repr)
def test_a_half_open_place_is_put_back_whatever_step_raises(
    monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    clock, faults = Clock(100.0), list[BaseException]()

    def raise_one(*args: Any) -> bool:
        if faults:
            raise faults.pop()
        return True

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise_one()

    breaker = opened(clock, on_change=raise_one if step == "on_change" else None, is_failure=raise_one)
    handler = Failing()
    logging.getLogger("portal.calls").addHandler(handler)
    try:
        clock.now += 1000
        faults.append(error)
        for peer in (fail, fail, fail):
            try:
                breaker(call_of(), peer)
            except BaseException:  # the error of the peer, or the one that was injected
                clock.now += 1000
    finally:
        logging.getLogger("portal.calls").removeHandler(handler)
    assert not faults
    assert state(breaker).half_open_calls == 0
    clock.now += 1000
    assert try_call(breaker, succeed) == "ok"
    assert state(breaker).state == "closed"
