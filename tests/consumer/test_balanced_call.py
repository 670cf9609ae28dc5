from __future__ import annotations

import pytest

from portal import (
    CallCancelled,
    CallTimeout,
    ConsumerError,
    FunctionError,
    OverloadedError,
    PortalError,
    TransportError,
    ValidationError,
)
from portal.consumer.balanced_call import BalancedCall, concerns_group, group_error
from tests.support.scripted_calls import NOT_SENT, UNKNOWN, Calls, charge, level, script


def conclude(call: BalancedCall, error: PortalError) -> PortalError:
    return group_error(call, error) if concerns_group(call, error) else error


def test_the_error_lists_each_attempt() -> None:
    calls = Calls(level)
    with pytest.raises(TransportError) as caught:
        calls.run(script(a=NOT_SENT, b=UNKNOWN, c=OverloadedError("full"), d=NOT_SENT))
    error = conclude(calls.call, caught.value)
    assert isinstance(error, ConsumerError)
    assert [(row["address"][7], row["outcome"], row.get("error")) for row in error.attempts] == [
        ("a", "failed", "transport_error"),
        ("b", "failed", "transport_error"),
        ("c", "failed", "overloaded"),
        ("d", "failed", "transport_error"),
    ]
    assert error.may_have_executed
    assert "may have run" in error.advice
    assert error.context["explain"].startswith("2 of 4 instances healthy, pick_first")
    again = PortalError.from_dict(error.to_dict())
    assert isinstance(again, ConsumerError)
    assert again.attempts == error.attempts


def test_what_was_not_tried_is_listed_with_its_reason() -> None:
    calls = Calls(level, max_sends=2)
    with pytest.raises(TransportError) as caught:
        calls.run(script(**dict.fromkeys("abcd", UNKNOWN)))
    error = conclude(calls.call, caught.value)
    assert isinstance(error, ConsumerError)
    assert [row["outcome"] for row in error.attempts] == ["failed", "failed", "not_tried", "not_tried"]
    assert error.attempts[2]["reason"] == "the call had ended"
    assert error.__cause__ is caught.value


@pytest.mark.parametrize("error", [FunctionError("broken"), ValidationError("wrong"), CallCancelled("no")])
def test_an_error_that_says_more_stays(error: PortalError) -> None:
    calls = Calls(level)
    with pytest.raises(type(error)):
        calls.run(script(a=NOT_SENT, b=error))
    assert conclude(calls.call, error) is error
    assert "instances healthy" in error.context["explain"]


def test_one_attempt_is_its_own_error() -> None:
    calls = Calls(charge)
    with pytest.raises(TransportError) as caught:
        calls.run(script(a=UNKNOWN))
    assert conclude(calls.call, caught.value) is caught.value
    late = CallTimeout("late")
    calls.call.rows.extend([{"address": "x"}, {"address": "y"}])
    calls.call.context.deadline = 0.0
    assert conclude(calls.call, late) is late, "the deadline is over"
