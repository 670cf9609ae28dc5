"""Which attempt follows which error; the attempts are scripted."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import pytest

from portal import (
    CallCancelled,
    CallContext,
    CallTimeout,
    CircuitOpenError,
    Function,
    FunctionError,
    OverloadedError,
    PortalError,
    RateLimitError,
    RegistryError,
    TransportError,
    ValidationError,
)
from portal.calls.middleware import Call
from portal.consumer.failover import cost_of, may_send_again
from portal.resilience import RetryBudget
from tests.support.scripted_calls import NOT_SENT, UNKNOWN, Calls, charge, level, script


@pytest.mark.parametrize(
    ("error", "of", "key", "cost"),
    [
        (NOT_SENT, charge, None, 0),
        (UNKNOWN, charge, None, None),
        (UNKNOWN, charge, "k", 1),
        (UNKNOWN, level, None, 1),
        (CallTimeout("late"), charge, None, None),
        (CallTimeout("late"), level, None, 1),
        (CallTimeout("late", delivery="not_sent"), charge, None, 1),
        (CircuitOpenError("open"), charge, None, 0),
        (OverloadedError("full"), charge, None, 1),
        (OverloadedError("full", retryable=False), charge, None, None),
        (OverloadedError("full", delivery="executed"), charge, "k", None),
        (RateLimitError("too many"), level, None, None),
        (RegistryError("gone"), charge, None, 0),
        (RegistryError("gone", delivery="executed"), level, None, None),
        (RegistryError("twice", kind="conflict"), level, None, None),
        (FunctionError("broken"), level, None, None),
        (ValidationError("wrong"), level, None, None),
        (CallCancelled("no"), level, None, None),
    ],
    ids=str,
)
def test_what_another_attempt_costs(
    error: PortalError, of: Function[..., Any], key: str | None, cost: int | None
) -> None:
    call = Call(of, {}, CallContext(idempotency_key=key))
    assert cost_of(error, call) == cost


def test_no_attempt_follows_the_end_of_the_call() -> None:
    cancelled = CallContext()
    cancelled.cancel()
    assert cost_of(NOT_SENT, Call(level, {}, cancelled)) is None
    assert cost_of(NOT_SENT, Call(level, {}, CallContext(deadline=0.0))) is None
    assert may_send_again(NOT_SENT, Call(charge, {}, CallContext()))


def test_a_call_goes_to_the_next_instance_if_the_first_cannot_be_reached() -> None:
    calls = Calls()
    assert calls.run(script(a=NOT_SENT, b=CircuitOpenError("open"))) == "c"
    assert [(row["outcome"], row["error"]) for row in calls.call.rows] == [
        ("failed", "transport_error"),
        ("skipped", "circuit_open"),
    ]
    assert calls.call.address is not None
    assert calls.call.address.host == "c"


def test_what_may_have_run_is_not_sent_again() -> None:
    calls = Calls(charge)
    with pytest.raises(TransportError, match="reset"):
        calls.run(script(a=UNKNOWN))
    assert calls.tried == "a"


def test_an_idempotent_call_is_sent_again() -> None:
    calls = Calls(level)
    assert calls.run(script(a=UNKNOWN, b=CallTimeout("late"))) == "c"
    assert calls.tried == "ab"
    assert Calls(charge, key="k").run(script(a=UNKNOWN)) == "b"


def test_the_error_says_that_an_earlier_attempt_may_have_run() -> None:
    calls = Calls(level)
    refused = {host: TransportError("refused", delivery="not_sent") for host in "bcd"}
    with pytest.raises(TransportError) as caught:
        calls.run(script(a=UNKNOWN, **refused))
    assert calls.tried == "abcd"
    assert caught.value.may_have_executed


def test_a_call_is_sent_a_bounded_number_of_times() -> None:
    calls = Calls(level, max_sends=2)
    with pytest.raises(TransportError):
        calls.run(script(**dict.fromkeys("abcd", UNKNOWN)))
    assert calls.tried == "ab"
    calls = Calls(level, max_sends=1)
    assert calls.run(script(a=NOT_SENT, b=NOT_SENT)) == "c", "a call that did not arrive was not sent"


def test_the_budget_ends_the_attempts_of_an_outage() -> None:
    calls = Calls(level, budget=RetryBudget(max_tokens=4))
    with pytest.raises(TransportError) as caught:
        calls.run(script(**dict.fromkeys("abcd", UNKNOWN)))
    assert calls.tried == "ab", "at half of the tokens no attempt follows"
    assert caught.value.context["retry_budget"] == "spent"


def test_an_error_of_the_function_is_raised_as_it_is() -> None:
    calls = Calls(level)
    with pytest.raises(FunctionError, match="broken"):
        calls.run(script(a=FunctionError("broken")))
    with pytest.raises(KeyboardInterrupt):
        Calls(level).run(script(a=KeyboardInterrupt()))


def test_the_next_round_prefers_what_was_not_tried() -> None:
    calls = Calls(charge)
    for host in "abcd":
        with pytest.raises(TransportError):
            calls.run(script(**{host: UNKNOWN}))
    assert calls.tried == "abcd"
    assert calls.run(script()) == "a", "all were tried: a new round begins"


def test_an_empty_group_is_an_error() -> None:
    calls = Calls()
    calls.group.replace([])
    with pytest.raises(RegistryError, match="there is no instance of serve"):
        calls.run(script())


def test_an_attempt_gets_its_own_deadline_if_it_may_be_repeated() -> None:
    seen: list[float | None] = []

    def attempt(call: Call) -> Any:
        seen.append(call.context.deadline)
        if len(seen) == 1:
            raise CallTimeout("late")
        return call.context.idempotency_key

    calls = Calls(charge, key="k", attempt_timeout=5.0)
    context = calls.call.context
    assert calls.run(attempt) == "k"
    assert None not in seen
    assert calls.call.context is context
    seen.clear()
    with pytest.raises(CallTimeout):
        Calls(charge, attempt_timeout=5.0).run(attempt)
    assert seen == [None]


# streams


def items(*values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, PortalError):
            raise copy(value)
        yield value


def test_a_stream_may_move_until_its_first_item() -> None:
    calls = Calls(level, streaming=True)
    starts: list[str] = []

    def attempt(call: Call) -> Any:
        assert call.address is not None
        starts.append(call.address.host)
        return items(UNKNOWN) if starts[-1] == "a" else items(1, 2)

    stream = calls.run(attempt)
    assert calls.group.stats().outstanding == 1
    assert list(stream) == [1, 2]
    assert starts == ["a", "b"]
    assert calls.group.stats().outstanding == 0
    assert list(stream) == []


def test_a_stream_that_has_begun_does_not_move() -> None:
    calls = Calls(level, streaming=True)
    stream = calls.run(lambda call: items(1, UNKNOWN))
    assert next(stream) == 1
    with pytest.raises(TransportError):
        next(stream)
    stats = calls.group.stats()
    assert stats.outstanding == 0
    assert calls.group.candidates[0].failures == 1


@pytest.mark.parametrize("begun", [True, False])
def test_the_load_of_a_stream_comes_back_when_it_is_closed_or_dropped(begun: bool) -> None:
    for drop in (False, True):
        calls = Calls(level, streaming=True)
        stream = calls.run(lambda call: items(1, 2))
        if begun:
            next(stream)
        assert calls.group.stats().outstanding == 1
        if drop:
            del stream
        else:
            stream.close()
        assert calls.group.stats().outstanding == 0


def test_an_empty_stream_ends() -> None:
    calls = Calls(level, streaming=True)
    assert list(calls.run(lambda call: items())) == []
    assert calls.group.stats().outstanding == 0
    assert calls.group.candidates[0].failures == 0
