from __future__ import annotations

from typing import Any

import pytest

from portal import CallContext, function
from portal.calls.middleware import Call, CallNext, Middleware, build_chain


@function
def add(a: int, b: int) -> int:
    return a + b


def new_call() -> Call:
    return Call(add, {"a": 1, "b": 2}, CallContext())


def test_a_chain_without_middleware_is_the_last_step() -> None:
    def last(call: Call) -> str:
        return "done"

    assert build_chain([], last) is last


def test_the_first_middleware_is_the_outermost() -> None:
    steps: list[str] = []

    def layer(name: str) -> Middleware:
        def middleware(call: Call, call_next: CallNext) -> Any:
            steps.append(f"{name} before")
            result = call_next(call)
            steps.append(f"{name} after")
            return f"{name}({result})"

        return middleware

    def last(call: Call) -> str:
        steps.append("last")
        return "result"

    chain = build_chain((layer(name) for name in ("outer", "inner")), last)
    assert chain(new_call()) == "outer(inner(result))"
    assert steps == ["outer before", "inner before", "last", "inner after", "outer after"]


def test_a_middleware_may_respond_or_raise_instead_of_the_call() -> None:
    def last(call: Call) -> str:
        raise AssertionError("the call must not come here")

    assert build_chain([lambda call, call_next: "early"], last)(new_call()) == "early"

    def fail(call: Call, call_next: CallNext) -> Any:
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        build_chain([fail], last)(new_call())


def test_a_middleware_may_call_the_rest_of_the_chain_twice() -> None:
    calls: list[Call] = []
    chain = build_chain([lambda call, call_next: (call_next(call), call_next(call))], calls.append)
    call = new_call()
    chain(call)
    assert calls == [call, call]


def test_reading_the_replied_headers_creates_nothing() -> None:
    call = new_call()
    assert dict(call.replied) == {}
    assert call.replied is new_call().replied
    call.reply["x-count"] = "3"
    assert dict(call.replied) == {"x-count": "3"}
    assert dict(new_call().replied) == {}


def test_a_call_within_the_process_has_no_peer() -> None:
    call = new_call()
    assert (call.peer, call.group, call.address, call.streaming) == ("", "", None, False)
