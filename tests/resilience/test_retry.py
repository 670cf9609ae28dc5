from __future__ import annotations

import math
import threading
import timeit
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import Consumer, HTTPPortal, LocalPortal, errors
from portal import function as make
from portal.calls.middleware import Call
from portal.context import CallContext
from portal.errors import (
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    ConfigError,
    FunctionError,
    OverloadedError,
    PortalError,
    RateLimitError,
    TransportError,
    ValidationError,
)
from portal.network.problem import error_of
from portal.resilience.breaker import Breaker
from portal.resilience.retry import Retry, RetryBudget, wait

WAIT = 10.0


@make
def once(n: int = 0) -> int:
    return n


@make(idempotent=True)
def again(n: int = 0) -> int:
    return n


@make
def items() -> Iterator[int]:
    yield 1


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float, context: CallContext) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Peer:
    """Raises each outcome that is an exception, and returns the others."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self, call: Call) -> Any:
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def retry_with(clock: Clock, **options: Any) -> Retry:
    options.setdefault("random", lambda: 1.0)
    return Retry(sleep=clock.sleep, clock=clock, **options)


def call_of(function: Any = once, *, deadline: float | None = None, key: str | None = None) -> Call:
    return Call(
        function, {}, CallContext(deadline=deadline, idempotency_key=key), streaming=bool(function.schema.streaming)
    )


def lost(sent: bool = True, **options: Any) -> TransportError:
    return TransportError("lost", delivery="unknown" if sent else "not_sent", **options)


def test_a_call_that_succeeds_does_not_wait() -> None:
    clock = Clock()
    assert retry_with(clock)(call_of(), Peer(7)) == 7
    assert clock.slept == []


def test_backoffs_double_up_to_the_maximum() -> None:
    clock = Clock()
    peer = Peer(*[lost(False) for _ in range(6)], "done")
    assert retry_with(clock, attempts=7, initial_backoff=0.1, max_backoff=1.0)(call_of(), peer) == "done"
    assert clock.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


@given(st.floats(0, 1), st.integers(1, 5000))
def test_backoffs_have_full_jitter(fraction: float, number: int) -> None:
    retry = Retry(initial_backoff=0.05, max_backoff=2.0, random=lambda: fraction)
    seconds = retry._backoff(number)
    assert 0 <= seconds <= 2.0
    assert seconds == pytest.approx(fraction * min(2.0, 0.05 * 2.0 ** min(number - 1, 64)))


# error; whether the call is repeated for a plain function, with an idempotency key, and for an idempotent function
CASES: list[tuple[Callable[[], PortalError], bool, bool, bool]] = [
    (lambda: lost(False), True, True, True),
    (lambda: lost(True), False, True, True),
    (lambda: lost(True, retryable=True), False, True, True),
    (lambda: lost(False, retryable=False), False, False, False),
    (lambda: RateLimitError("r"), True, True, True),
    (lambda: RateLimitError("r", retryable=False), False, False, False),
    (lambda: OverloadedError("o"), True, True, True),
    (lambda: error_of(503, "text/html", b"", {}), False, True, True),  # a proxy
    # The 503 of a portal shows that the function did not run.
    (lambda: error_of(503, "application/problem+json", b'{"code": "overloaded"}', {}), True, True, True),
    (lambda: CircuitOpenError("c"), True, True, True),
    (lambda: CallTimeout("t"), False, False, False),
    (lambda: CallTimeout("t", retryable=True), False, True, True),
    (lambda: ValidationError("v", retryable=True), False, False, False),
    (lambda: CallCancelled("v", retryable=True), False, False, False),
    (lambda: FunctionError("f"), False, False, False),
    (lambda: FunctionError("f", retryable=True), False, False, True),
    (lambda: errors.AuthenticationError("a"), False, False, False),
    (lambda: errors.ProtocolError("p"), False, False, False),
    (lambda: PortalError("p", retryable=True), False, True, True),
]


@pytest.mark.parametrize("which", ["plain", "key", "idempotent"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_call_is_repeated_only_if_that_is_safe(case: int, which: str) -> None:
    build, plain, keyed, idempotent = CASES[case]
    expected = {"plain": plain, "key": keyed, "idempotent": idempotent}[which]
    call = call_of(again if which == "idempotent" else once, key="k" if which == "key" else None)
    peer = Peer(build(), "second")
    retry = retry_with(Clock())
    if expected:
        assert retry(call, peer) == "second"
        assert peer.calls == 2
    else:
        with pytest.raises(PortalError) as caught:
            retry(call, peer)
        assert type(caught.value) is type(build())
        assert caught.value.context["attempts"] == 1
        assert peer.calls == 1


def test_the_last_error_says_whether_an_earlier_attempt_may_have_executed() -> None:
    for outcomes, executed in (
        ([lost(True), lost(False)], True),
        ([lost(False), lost(False)], False),
        ([lost(True), OverloadedError("o"), lost(False)], True),
        ([lost(False), lost(True)], True),
    ):
        with pytest.raises(TransportError) as caught:
            retry_with(Clock(), attempts=len(outcomes))(call_of(again), Peer(*outcomes))
        assert caught.value.may_have_executed is executed
        assert ("an earlier attempt" in str(caught.value)) is outcomes[0].may_have_executed


def test_the_last_error_has_the_number_of_attempts() -> None:
    last = lost(False)
    with pytest.raises(TransportError) as caught:
        retry_with(Clock(), attempts=4)(call_of(), Peer(lost(False), lost(False), OverloadedError("o"), last))
    assert caught.value is last
    assert caught.value.context["attempts"] == 4


def test_other_exceptions_are_not_retried() -> None:
    peer = Peer(KeyError("x"), 1)
    with pytest.raises(KeyError):
        retry_with(Clock())(call_of(again), peer)
    assert peer.calls == 1


def test_retry_on_cannot_repeat_an_unsafe_call() -> None:
    asked: list[str] = []

    def judge(error: PortalError) -> bool:
        asked.append(error.code)
        return not isinstance(error, RateLimitError)

    clock = Clock()
    retry = retry_with(clock, retry_on=judge)
    assert retry(call_of(again), Peer(errors.ProtocolError("p"), 1)) == 1
    with pytest.raises(errors.ProtocolError):
        retry(call_of(once), Peer(errors.ProtocolError("p"), 1))
    with pytest.raises(RateLimitError):
        retry(call_of(again), Peer(RateLimitError("r"), 1))
    with pytest.raises(ValidationError):
        retry(call_of(again), Peer(ValidationError("v"), 1))
    assert asked == ["protocol_error", "protocol_error", "rate_limited"]


# backoff and deadline


@pytest.mark.parametrize(
    ("asked", "slept"),
    [
        (3.0, 3.05),
        (2, 2.05),
        (0, 0.05),
        (-5.0, 0.05),
        (math.nan, 0.05),
        ("soon", 0.05),
        (True, 0.05),
        (None, 0.05),
    ],
)
def test_retry_after_is_added_to_the_backoff(asked: Any, slept: float) -> None:
    clock = Clock()
    assert retry_with(clock)(call_of(), Peer(RateLimitError("r", retry_after=asked), 1)) == 1
    assert clock.slept == pytest.approx([slept])


@pytest.mark.parametrize("asked", [61.0, math.inf, 10**400])
def test_a_wait_beyond_max_wait_is_not_started(asked: Any) -> None:
    clock = Clock()
    with pytest.raises(RateLimitError):
        retry_with(clock, max_wait=60.0)(call_of(), Peer(RateLimitError("r", retry_after=asked), 1))
    assert clock.slept == []


@pytest.mark.parametrize(("left", "calls"), [(0.05, 1), (0.06, 2), (0.0, 1), (-1.0, 1)])
def test_a_wait_beyond_the_deadline_is_not_started(left: float, calls: int) -> None:
    clock = Clock()
    peer = Peer(lost(False), lost(False), 1)
    with pytest.raises(TransportError) as caught:
        retry_with(clock)(call_of(deadline=clock.now + left), peer)
    assert peer.calls == calls == caught.value.context["attempts"]
    assert len(clock.slept) == calls - 1


def test_a_timeout_at_the_callers_deadline_is_not_retried() -> None:
    clock = Clock()
    peer = Peer(CallTimeout("t", retryable=True), 1)
    with pytest.raises(CallTimeout):
        retry_with(clock)(call_of(again, deadline=clock.now), peer)
    peer = Peer(CallTimeout("a timeout of the server", retryable=True), 1)
    assert retry_with(clock)(call_of(again, deadline=clock.now + 1), peer) == 1


def test_a_cancelled_call_is_not_sent_again() -> None:
    clock = Clock()
    call = call_of()
    call.context.cancel()
    with pytest.raises(TransportError):
        retry_with(clock)(call, Peer(lost(False), 1))
    assert clock.slept == []


def test_cancelling_ends_the_wait() -> None:
    call = call_of()
    failed = threading.Event()
    error = OverloadedError("o", retry_after=50.0)

    def peer(one: Call) -> Any:
        failed.set()
        raise error

    caught: list[CallCancelled] = []

    def run() -> None:
        with pytest.raises(CallCancelled) as info:
            Retry(max_wait=60.0)(call, peer)
        caught.append(info.value)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert failed.wait(WAIT)
    call.context.cancel()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert caught[0].cause is error
    assert caught[0].context == {"request_id": call.context.request_id, "attempts": 1}


def test_wait_ends_after_its_time_or_at_a_cancellation() -> None:
    start = timeit.default_timer()
    wait(0.02, CallContext())
    assert timeit.default_timer() - start >= 0.015
    cancelled = CallContext()
    cancelled.cancel()
    start = timeit.default_timer()
    wait(WAIT, cancelled)
    assert timeit.default_timer() - start < WAIT / 2


# the budget


def test_the_budget_stops_retries_during_an_outage() -> None:
    retry = retry_with(Clock(), budget=RetryBudget(20), attempts=10)
    peer = Peer(*[lost(False) for _ in range(1000)])
    spent = 0
    for _ in range(100):
        with pytest.raises(TransportError) as caught:
            retry(call_of(), peer)
        spent += caught.value.context.get("retry_budget") == "spent"
    assert peer.calls == 100 + 9  # the tenth failure leaves the bucket half full
    assert spent == 99
    assert retry.stats() == {"once": {"tokens": 0.0, "rejected": 99}}


def test_successes_fill_the_budget() -> None:
    retry = retry_with(Clock(), budget=RetryBudget(4, token_ratio=0.5))
    for _ in range(4):
        with pytest.raises(TransportError):
            retry(call_of(), Peer(*[lost(False)] * 3))
    assert retry.stats()["once"]["tokens"] == 0
    for _ in range(4):
        assert retry(call_of(), Peer(1)) == 1
    peer = Peer(lost(False), 1)
    with pytest.raises(TransportError):
        retry(call_of(), peer)  # 2 tokens of 4, 1 after the failure
    for _ in range(5):
        retry(call_of(), Peer(1))
    assert retry(call_of(), Peer(lost(False), 1)) == 1  # 3.5, then 2.5


# what an attempt raises; the tokens that it takes
COUNTED: list[tuple[Callable[[], PortalError], float]] = [
    (lambda: lost(False), 1),
    (lambda: lost(True), 1),
    (lambda: OverloadedError("o"), 1),
    (lambda: RateLimitError("r", retry_after=1.0), 1),
    (lambda: RateLimitError("r", retryable=False), 1),  # a server's word not to retry
    (lambda: CallTimeout("t", retryable=True), 1),
    (lambda: ValidationError("v"), 0),
    (lambda: FunctionError("f"), 0),
    (lambda: errors.AuthenticationError("a"), 0),
    (lambda: CallCancelled("c"), 0),
]


@pytest.mark.parametrize("case", range(len(COUNTED)))
def test_temporary_errors_take_a_token(case: int) -> None:
    build, taken = COUNTED[case]
    retry = retry_with(Clock(), budget=RetryBudget(10), attempts=1)
    with pytest.raises(PortalError):
        retry(call_of(), Peer(build()))
    assert retry.stats()["once"]["tokens"] == 10 - taken


def test_services_have_budgets_of_their_own() -> None:
    retry = retry_with(Clock(), budget=RetryBudget(2))
    with pytest.raises(TransportError) as caught:
        retry(call_of(), Peer(lost(False), 1))
    assert caught.value.context["retry_budget"] == "spent"
    with pytest.raises(TransportError):
        retry(call_of(again), Peer(lost(False), 1))
    assert retry.stats() == {name: {"tokens": 1.0, "rejected": 1} for name in ("once", "again")}
    fresh = retry.for_consumer()
    assert fresh.stats() == {}


def test_a_cancelled_call_takes_no_token() -> None:
    retry = retry_with(Clock(), budget=RetryBudget(2))
    call = call_of()

    def peer(one: Call) -> Any:
        one.context.cancel()
        raise lost(False)

    with pytest.raises(TransportError):
        retry(call, peer)
    assert retry.stats()["once"]["tokens"] == 2


def test_the_backoff_begins_anew_after_a_retry_after() -> None:
    clock = Clock()
    outcomes = [lost(False), lost(False), OverloadedError("o", retry_after=3.0), lost(False), lost(False), 1]
    assert retry_with(clock, attempts=9)(call_of(), Peer(*outcomes)) == 1
    assert clock.slept == pytest.approx([0.05, 0.1, 3.05, 0.05, 0.1])


@pytest.mark.parametrize("kind", [RateLimitError, OverloadedError, CircuitOpenError])
def test_retry_on_cannot_overrule_a_server_that_says_not_to_retry(kind: type[PortalError]) -> None:
    peer = Peer(kind("no", retryable=False), 1)
    with pytest.raises(kind):
        retry_with(Clock(), retry_on=lambda error: True)(call_of(again), peer)
    assert peer.calls == 1


# streams


class Source:
    """An iterator of outcomes that records whether it was closed."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self.outcomes:
            raise StopIteration
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def close(self) -> None:
        self.closed = True


def test_a_stream_is_started_again_before_its_first_item() -> None:
    clock = Clock()
    peer = Peer(OverloadedError("o"), Source(lost(False)), Source(1, 2))
    stream = retry_with(clock)(call_of(items), peer)
    assert list(iter(stream)) == [1, 2]
    assert list(stream) == []
    assert peer.calls == 3
    assert clock.slept == pytest.approx([0.05, 0.1])


def test_the_attempts_of_a_stream_are_counted_together() -> None:
    peer = Peer(OverloadedError("o"), Source(lost(False)), Source(lost(False)), Source(1))
    stream = retry_with(Clock())(call_of(items), peer)
    with pytest.raises(TransportError) as caught:
        next(stream)
    assert caught.value.context["attempts"] == peer.calls == 3
    with pytest.raises(StopIteration):
        next(stream)


def test_a_stream_is_not_started_again_after_an_item() -> None:
    peer = Peer(Source(1, lost(False)), Source(2))
    stream = retry_with(Clock())(call_of(items), peer)
    assert next(stream) == 1
    with pytest.raises(TransportError):
        next(stream)
    assert peer.calls == 1


def test_wrong_parameters_of_a_stream_are_reported_at_once() -> None:
    with pytest.raises(ValidationError):
        retry_with(Clock())(call_of(items), Peer(ValidationError("v")))


def test_closing_a_stream_closes_its_source() -> None:
    source = Source(1, 2)
    stream = retry_with(Clock())(call_of(items), Peer(source))
    stream.close()
    assert source.closed
    with pytest.raises(StopIteration):
        next(stream)
    stream.close()
    empty = retry_with(Clock())(call_of(items), Peer(iter(())))
    assert list(empty) == []
    empty.close()


# over a real connection


def test_retry_and_breaker_with_a_busy_and_a_stopped_server() -> None:
    ran: list[int] = []

    @make(idempotent=True)
    def busy(n: int) -> int:
        ran.append(n)
        if len(ran) < 3:
            raise OverloadedError("not yet", retry_after=0.001)
        return n

    breaker = Breaker(2, is_failure=lambda error: isinstance(error, TransportError))
    retry = Retry(initial_backoff=0.001, random=lambda: 1.0)
    with Consumer(middleware=[retry, breaker]) as consumer:
        with HTTPPortal() as http:
            address = http.apply(busy)
            assert consumer.call_at(address, {"n": 7}) == 7
            assert ran == [7, 7, 7]
            assert breaker.states()[address.authority].state == "closed"
        with pytest.raises(CircuitOpenError) as caught:
            consumer.call_at(address, {"n": 8}, timeout=WAIT)
        assert caught.value.context["attempts"] == 3
        assert breaker.states()[address.authority].state == "open"
        assert len(ran) == 3


def test_an_error_that_a_function_passes_on_is_not_retried() -> None:
    """The function had started, although its own nested call was not executed."""
    ran: list[int] = []

    def charge(n: int) -> int:
        ran.append(n)
        raise TransportError("the bank cannot be reached", delivery="not_sent", retryable=True)

    with Consumer(middleware=[Retry(initial_backoff=0.001)]) as consumer, HTTPPortal() as http, LocalPortal() as local:
        for portal in (http, local):
            with pytest.raises(TransportError) as caught:
                consumer.call_at(portal.apply(charge), {"n": 7})
            assert caught.value.executed
    assert ran == [7, 7]


# settings


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"attempts": 0}, "retry.attempts"),
        ({"attempts": 1.5}, "retry.attempts"),
        ({"attempts": True}, "retry.attempts"),
        ({"attempts": "3"}, "retry.attempts"),
        ({"initial_backoff": 0}, "retry.initial_backoff"),
        ({"initial_backoff": math.nan}, "retry.initial_backoff"),
        ({"max_backoff": 0.01}, "retry.max_backoff"),
        ({"max_backoff": math.inf}, "retry.max_backoff"),
        ({"max_wait": -1}, "retry.max_wait"),
        ({"retry_on": 5}, "retry.retry_on"),
    ],
)
def test_wrong_settings_are_rejected(options: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Retry(**options)
    assert caught.value.path == path
    assert caught.value.expected
