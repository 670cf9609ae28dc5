from __future__ import annotations

import pytest

from portal import Address, CallContext, TransportError, function
from portal.consumer.pending import PendingFunction
from portal.function import Function
from portal.schema import FunctionSchema


@function
def add(a: int, b: int) -> int:
    return a + b


@function
def numbers(count: int) -> list[int]:
    return [*range(count)]


class Fetch:
    """Return a function, and record the contexts."""

    def __init__(self, found: Function) -> None:
        self.found = found
        self.contexts: list[CallContext] = []

    def __call__(self, context: CallContext) -> Function:
        self.contexts.append(context)
        return self.found


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://h/api/add", "add"),
        ("http://h/api/add/3f2a9c51", "add"),
        ("http://h/api/add/17", "add"),
        ("http://h/api/shop/add/0123456789abcdef", "add"),
        ("http://h/api/add/sub", "sub"),
        ("http://h/3f2a9c51", "3f2a9c51"),
        ("http://h/api/not%20a%20name", "h"),
        ("http://h", "h"),
    ],
)
def test_the_name_comes_from_the_address_until_the_schema_is_fetched(address: str, name: str) -> None:
    pending = PendingFunction(Address.parse(address), Fetch(add))
    assert pending.schema.name == name
    assert not pending.schema.idempotent
    assert not pending.schema.cacheable


def test_a_known_schema_is_used() -> None:
    known = FunctionSchema("add", idempotent=True)
    assert PendingFunction(Address.parse("http://h/api/add"), Fetch(add), known).schema is known


def test_a_call_fetches_the_function_within_its_context() -> None:
    fetch, context = Fetch(add), CallContext()
    pending = PendingFunction(Address.parse("http://h/api/add"), fetch)
    assert fetch.contexts == []
    assert pending.invoke({"a": 1, "b": 2}, context) == 3
    assert fetch.contexts == [context]


def test_an_error_of_the_fetch_is_raised() -> None:
    def fail(context: CallContext) -> Function:
        raise TransportError("lost")

    pending = PendingFunction(Address.parse("http://h/api/add"), fail)
    with pytest.raises(TransportError, match="lost"):
        pending.invoke({}, CallContext())
