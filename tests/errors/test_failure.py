"""Exceptions of user code that are outcomes of a call."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import marshmallow
import pytest

from portal import Consumer, LocalPortal
from portal.errors import FunctionError
from portal.errors.failure import function_error, is_failure, is_raised_by_signal, text_of
from portal.schema import Schema


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_an_exception_for_the_process_is_a_failure_outside_the_main_thread(error: BaseException) -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_failure(error)))
    thread.start()
    thread.join(10)
    assert (found, is_failure(error)) == ([True], False)
    assert is_failure(ValueError())


def test_the_text_of_an_exception_is_private() -> None:
    error = function_error(KeyError("secret"))
    assert (error.type, error.message, error.private) == ("KeyError", "KeyError: 'secret'", True)
    assert "secret" not in error.message_for_client(debug=False)


class SoftTimeLimit(ValueError):
    """As a decoder would raise it for wrong data."""


class Limits:
    def on_signal(self, number: int, frame: object) -> None:
        raise SoftTimeLimit("time is up")

    @staticmethod
    def with_rest(*args: object) -> None:
        raise SoftTimeLimit(str(args[0]))

    def indirectly(self, name: str, number: int, frame: object) -> None:
        self.on_signal(number, None)


HANDLERS: dict[str, Callable[..., None]] = {
    "method": Limits().on_signal,
    "any arguments": Limits.with_rest,
    "partial": partial(Limits().indirectly, "soft"),
    "lambda": lambda number, frame: Limits().on_signal(number, frame),
}


@pytest.fixture(params=sorted(HANDLERS))
def limited(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Return what delivers a signal whose handler raises."""
    before = signal.signal(signal.SIGUSR1, HANDLERS[request.param])
    try:
        yield partial(signal.raise_signal, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_exception_of_a_handler_is_told_from_that_of_the_code_it_interrupts(limited: Callable[[], None]) -> None:
    with pytest.raises(SoftTimeLimit) as raised:
        limited()
    assert is_raised_by_signal(raised.value)

    def called_like_a_handler(number: int, frame: object) -> None:
        raise SoftTimeLimit("no signal")

    for arguments in ((3, None), (3, sys._getframe(1)), (True, "x")):
        with pytest.raises(SoftTimeLimit) as raised:
            called_like_a_handler(*arguments)
        assert not is_raised_by_signal(raised.value)
    assert not is_raised_by_signal(ValueError("never raised"))


@dataclass
class Order:
    sku: str

    def __post_init__(self) -> None:
        assert self.sku


def order(item: Order) -> str:
    return item.sku


@pytest.mark.parametrize("place", ["decode", "test", "walking test", "faults", "encode", "marshmallow dump"])
def test_validation_does_not_blame_the_data_for_the_exception_of_a_handler(
    place: str, limited: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = Interrupting(limited)
    work: Callable[[], object]
    if place == "decode":
        monkeypatch.setattr(Order, "__post_init__", lambda self: limited())
        work = partial(Schema.of(Order).load, {"sku": "PEN"})
    elif place == "test":
        schema = Schema.of({"type": "array", "items": {"type": "string", "pattern": "^P"}})
        monkeypatch.setattr("portal.schema.validator.marshal", SimpleNamespace(dumps=interrupted))
        work = partial(schema.load, ["PEN"])
    elif place == "walking test":
        schema = Schema.of({"minimum": 1})  # of a value of any type
        monkeypatch.setattr("portal.schema.validator.is_json", interrupted)
        work = partial(schema.load, 5)
    elif place == "faults":
        schema = Schema.of(list[str])
        monkeypatch.setattr("portal.schema.fault_finder.fault_finder", lambda *_: interrupted)
        work = partial(schema.load, [1])
    elif place == "encode":
        work = partial(Schema.of(Order).dump, Order("PEN"))
        monkeypatch.setattr(Order, "__getattribute__", lambda self, name: interrupted(name))
    else:
        numbers = marshmallow.Schema.from_dict({"n": marshmallow.fields.Function(lambda _: interrupted())})
        work = partial(Schema.of(numbers).dump, {"n": 1})
    with pytest.raises(FunctionError) as raised:
        work()
    assert raised.value.type == "SoftTimeLimit"
    assert isinstance(raised.value.__cause__, SoftTimeLimit)


class Interrupting:
    """A function during which the signal arrives."""

    def __init__(self, deliver: Callable[[], None]) -> None:
        self._deliver = deliver

    def __call__(self, *_: object) -> bool:
        self._deliver()
        return True


def test_a_local_call_whose_validation_is_interrupted_is_not_a_wrong_call(
    limited: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Order, "__post_init__", lambda self: limited())
    with LocalPortal() as portal, Consumer() as consumer:
        address = portal.apply(order)
        with pytest.raises(FunctionError, match="SoftTimeLimit"):
            consumer.call_at(address, {"item": {"sku": "PEN"}})
        monkeypatch.undo()
        assert consumer.call_at(address, {"item": {"sku": "PEN"}}) == "PEN"


class Silent(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("secret")


def test_an_exception_that_cannot_say_what_it_is_has_a_note() -> None:
    assert text_of(ValueError("odd")) == "odd"
    assert function_error(Silent()).message == "Silent: <its text cannot be read>"
