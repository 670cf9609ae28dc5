"""Function: calling it directly, through invoke and as a stream."""

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


def test_called_directly() -> None:
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
def test_refused_directly(args: Any, kwargs: Any) -> None:
    with pytest.raises(ValidationError):
        add(*args, **kwargs)


def test_what_it_raises_directly_is_its_own() -> None:
    @make
    def fail(n: int) -> int:
        return 1 // n

    with pytest.raises(ZeroDivisionError):
        fail(0)
    with pytest.raises(FunctionError) as caught:
        fail.invoke({"n": 0}, CallContext())
    assert isinstance(caught.value.cause, ZeroDivisionError)


def test_output_checks(caplog: pytest.LogCaptureFixture) -> None:
    def lies() -> int:
        return "x"  # type: ignore[return-value]

    with pytest.raises(FunctionError) as caught:
        make(lies)()
    assert caught.value.type == "InvalidOutput"
    assert caught.value.errors
    with caplog.at_level(logging.WARNING, "portal.function"):
        assert make(validate_output="warn")(lies).invoke({}, CallContext()) == "x"
    assert "does not fit" in caplog.text
    assert make(validate_output="off")(lies)() == "x"
    with pytest.raises(ConfigError):
        make(validate_output="maybe")(lies)  # type: ignore[call-overload]


def test_the_context_is_injected() -> None:
    @make
    def who(context: CallContext, greeting: str = "hi") -> str:
        return f"{greeting} {context.request_id}"

    context = CallContext(request_id="r1")
    assert list(who.schema.input["properties"]) == ["greeting"]
    assert who.invoke({}, context) == "hi r1"
    assert who(greeting="yo", context=context) == "yo r1"
    assert who().startswith("hi ")
    with context.active():
        assert who() == "hi r1"


class Closing:
    """An iterable whose iterator says when it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[date]:
        try:
            while True:
                yield date(2026, 1, 2)
        finally:
            self.closed.set()


SOURCE = Closing()


@make
def days() -> Iterator[date]:
    yield from SOURCE


@make
def typed() -> Generator[int, None, None]:
    yield 1


@make
def untyped():  # type: ignore[no-untyped-def]
    yield "x"


@make
def bare() -> Iterable:  # type: ignore[type-arg]
    yield "y"


@make
def follow(context: CallContext) -> Iterator[str]:
    yield context.request_id


def test_streams() -> None:
    assert days.streaming
    assert next(days()) == date(2026, 1, 2)
    items = days.iterate({}, CallContext())
    assert next(items) == "2026-01-02"
    items.close()  # type: ignore[attr-defined]
    assert SOURCE.closed.is_set()
    assert typed.schema.output == {"type": "integer"}
    assert list(typed.stream()) == [1]
    assert list(untyped()) == ["x"]
    assert list(bare()) == ["y"]
    assert list(follow.iterate({}, CallContext(request_id="r"))) == ["r"]
    with pytest.raises(ProtocolError):
        days.invoke({}, CallContext())
    with pytest.raises(ProtocolError):
        add.stream(1)
    with pytest.raises(ProtocolError):
        add.iterate({"a": 1}, CallContext())


def test_a_stream_that_lies() -> None:
    @make
    def lies() -> Iterator[int]:
        yield "x"  # type: ignore[misc]

    with pytest.raises(FunctionError):
        list(lies.iterate({}, CallContext()))
