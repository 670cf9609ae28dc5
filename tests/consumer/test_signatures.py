"""The signatures that type checkers see are those of the methods."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

from portal import Consumer, LocalPortal, function
from portal.consumer import signatures

NAMES = ["call", "call_at", "map_at", "stream", "stream_at", "submit_at", "subscribe"]


@pytest.mark.parametrize("name", NAMES)
def test_each_overload_has_the_parameters_of_the_method(name: str) -> None:
    method = inspect.signature(getattr(Consumer, name)).parameters
    overloads = typing.get_overloads(getattr(signatures, name))
    assert len(overloads) in (2, 4)
    for overload in overloads:
        seen = inspect.signature(overload).parameters
        if name == "submit_at":  # it passes its options on to call_at
            method = inspect.signature(Consumer.call_at).parameters
        assert [(one.name, one.kind) for one in seen.values()] == [(one.name, one.kind) for one in method.values()]
        for one in seen.values():
            chosen = one.name in ("returns", "return_exceptions", "as_completed")
            assert chosen or one.default == method[one.name].default


@pytest.mark.parametrize("name", NAMES)
def test_the_method_is_that_of_the_consumer(name: str) -> None:
    assert getattr(Consumer, name).__module__ == "portal.consumer.consumer"

    class Recorder:
        def __getattr__(self, asked: str) -> Any:
            return lambda *args, **options: (asked, args, options)

    assert getattr(signatures, name)(Recorder(), "local://add", timeout=2) == (name, ("local://add",), {"timeout": 2})


def test_results_have_the_type_that_is_named() -> None:
    @function
    def double(number: int) -> str:
        return str(2 * number)

    with LocalPortal() as local, Consumer([local]) as consumer:
        address = local.apply(double)
        rows = [{"number": 1}, {"number": 2}]
        assert list(consumer.map_at(address, rows, returns=str)) == ["2", "4"]
        assert consumer.submit_at(address, rows[0], returns=str).result(30) == "2"
