"""The outcome of a call as text."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from portal import FunctionError, PortalError, ProtocolError, RateLimitError, function
from portal.calls.middleware import Call
from portal.context import CallContext
from portal.idempotency.outcomes import not_kept, replay, text_of_error, text_of_result
from portal.idempotency.store import MARKER_SIZE, NO_ROOM


def call() -> Call:
    return Call(function(lambda: 1, name="one"), {}, CallContext(request_id="r-1"))


@pytest.mark.parametrize("result", [None, 0, "\u00fc", {"error": 1}, {"not_kept": "x"}, [1.5]])
def test_a_result_comes_back(result: Any) -> None:
    again = call()
    assert replay(again, text_of_result(result)) == result
    assert again.reply == {"idempotent-replayed": "true"}


def test_an_error_comes_back_with_the_id_of_the_repeated_request() -> None:
    error = RateLimitError("later", retry_after=3.0)
    with pytest.raises(RateLimitError, match="later") as caught:
        replay(call(), text_of_error(error))
    assert (caught.value.retry_after, caught.value.request_id) == (3.0, "r-1")


@pytest.mark.parametrize("private", [True, False])
def test_the_message_of_an_exception_stays_private(private: bool) -> None:
    error = FunctionError("inside")
    error.private = private
    with pytest.raises(FunctionError) as caught:
        replay(call(), text_of_error(error))
    assert caught.value.private is private


@pytest.mark.parametrize(
    "text",
    [
        text_of_result({1, 2}),
        text_of_result(math.nan),
        text_of_error(PortalError("x", context={"odd": math.nan})),
        not_kept(f"was larger than {2**40} bytes"),
        NO_ROOM,
    ],
)
def test_a_call_that_ran_is_not_run_again_without_its_response(text: str) -> None:
    assert len(text) <= MARKER_SIZE
    with pytest.raises(ProtocolError, match="because it was") as caught:
        replay(call(), text)
    assert (caught.value.status, caught.value.executed) == (409, True)
    assert "not_kept" in json.loads(text)
