"""Function: direct calls, `invoke` and streams."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest

from portal import (
    CallContext,
    ConfigError,
    Function,
    FunctionError,
    ProtocolError,
    ValidationError,
)
from portal import function as make


@make
def add(a: float, b: float = 1) -> float:
    """Add two numbers."""
    return a + b


def test_a_direct_call_takes_and_returns_native_values() -> None:
    assert add(1, 2) == 3.0
    assert add(b=2, a=1) == add.call(1, 2) == 3.0
    assert isinstance(add(1), float)
    assert (add.name, add.__name__, add.__doc__, add.address) == ("add", "add", "Add two numbers.", None)
    assert repr(add) == "<Function add@1>"
    assert Function.of(add) is add
    assert add.submit(1, 2).result(10) == 3.0
    with ThreadPoolExecutor(1) as pool:
        assert add.submit(1, b=2, executor=pool).result(10) == 3.0


@pytest.mark.parametrize(
    ("args", "kwargs"), [(("1", 2), {}), ((), {}), ((1, 2, 3), {}), ((1,), {"a": 1}), ((1,), {"c": 1}), ((True,), {})]
)
def test_a_direct_call_with_wrong_arguments_is_rejected(args: Any, kwargs: Any) -> None:
    with pytest.raises(ValidationError):
        add(*args, **kwargs)


def test_a_direct_call_raises_the_exception_of_the_callable() -> None:
    @make
    def fail(n: int) -> int:
        return 1 // n

    with pytest.raises(ZeroDivisionError):
        fail(0)
    with pytest.raises(FunctionError) as caught:
        fail.invoke({"n": 0}, CallContext())
    assert isinstance(caught.value.cause, ZeroDivisionError)


def test_validate_output_decides_about_a_wrong_result(caplog: pytest.LogCaptureFixture) -> None:
    def wrong() -> int:
        return "x"  # type: ignore[return-value]

    with pytest.raises(FunctionError) as caught:
        make(wrong)()
    assert caught.value.type == "InvalidOutput"
    assert caught.value.errors
    with caplog.at_level(logging.WARNING, "portal.function"):
        assert make(validate_output="warn")(wrong).invoke({}, CallContext()) == "x"
    assert "does not fit" in caplog.text
    assert make(validate_output="off")(wrong)() == "x"
    with pytest.raises(ConfigError):
        make(validate_output="maybe")(wrong)  # type: ignore[call-overload]


def test_the_context_is_injected() -> None:
    @make
    def greet(context: CallContext, greeting: str = "hi") -> str:
        return f"{greeting} {context.request_id}"

    context = CallContext(request_id="r1")
    assert list(greet.schema.input["properties"]) == ["greeting"]
    assert greet.invoke({}, context) == "hi r1"
    assert greet(greeting="yo", context=context) == "yo r1"
    assert greet().startswith("hi ")
    with context.active():
        assert greet() == "hi r1"


class DaysUntilClosed:
    """An iterable that sets `closed` when its iterator is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[date]:
        try:
            while True:
                yield date(2026, 1, 2)
        finally:
            self.closed.set()


SOURCE = DaysUntilClosed()


@make
def days() -> Iterator[date]:
    yield from SOURCE


@make
def numbers() -> Generator[int, None, None]:
    yield 1


@make
def without_hint():  # type: ignore[no-untyped-def]
    yield "x"


@make
def without_item_hint() -> Iterable:  # type: ignore[type-arg]
    yield "y"


@make
def follow(context: CallContext) -> Iterator[str]:
    yield context.request_id


def test_streams_yield_native_items_or_json_data() -> None:
    assert days.streaming
    assert next(days()) == date(2026, 1, 2)
    items = days.iterate({}, CallContext())
    assert next(items) == "2026-01-02"
    items.close()  # type: ignore[attr-defined]
    assert SOURCE.closed.is_set()
    assert numbers.schema.output == {"type": "integer"}
    assert list(numbers.stream()) == [1]
    assert list(without_hint()) == ["x"]
    assert list(without_item_hint()) == ["y"]
    assert list(follow.iterate({}, CallContext(request_id="r"))) == ["r"]
    with pytest.raises(ProtocolError):
        days.invoke({}, CallContext())
    with pytest.raises(ProtocolError):
        add.stream(1)
    with pytest.raises(ProtocolError):
        add.iterate({"a": 1}, CallContext())


def test_a_wrong_item_of_a_stream_is_an_error() -> None:
    @make
    def wrong() -> Iterator[int]:
        yield "x"  # type: ignore[misc]

    with pytest.raises(FunctionError):
        list(wrong.iterate({}, CallContext()))
