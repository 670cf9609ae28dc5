"""Schemas of callables: options, callables that cannot be described, wrong options."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from portal import (
    CallContext,
    ConfigError,
    FunctionSchema,
    SerializationError,
    ValidationError,
)
from portal import function as make


@make
def add(a: float, b: float = 1) -> float:
    """Add two numbers."""
    return a + b


def test_options() -> None:
    made = make(
        name="sum", version="2.1", description="Sums.", tags=["math"], idempotent=True, cacheable=True, deprecated=True,
        timeout=1.5, examples=[{"input": {"a": 1}, "output": 2.0}],
    )(add.target)  # fmt: skip
    schema = made.schema
    assert (schema.name, schema.version, schema.description, schema.tags) == ("sum", "2.1", "Sums.", ("math",))
    assert (schema.idempotent, schema.cacheable, schema.deprecated, schema.timeout) == (True, True, True, 1.5)
    assert schema.examples[0]["output"] == 2.0
    assert schema.fingerprint != add.schema.fingerprint


def test_schemas_given() -> None:
    made = make(
        input={"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]},
        output={"type": "integer"},
    )(lambda n: n * 2)
    assert made.invoke({"n": 2}, CallContext()) == 4
    with pytest.raises(ValidationError):
        made.invoke({"n": 0}, CallContext())


class Adder:
    def __call__(self, n: int) -> int:
        return n + 1

    def add(self, n: int) -> int:
        return n + 2


def test_other_callables() -> None:
    assert make(Adder())(1) == 2
    assert make(Adder()).name == "Adder"
    assert make(Adder().add)(1) == 3
    assert make(functools.partial(add.target, b=5)).name == "add"


async def coroutine() -> None:
    raise AssertionError("never awaited")


def variable(*args: int) -> int:
    return len(args)


def keywords(**kwargs: int) -> int:
    return len(kwargs)


def positional(a: int, /) -> int:
    return a


def unknown(a: int) -> NoSuchName:  # type: ignore[name-defined]  # noqa: F821
    return a


@pytest.mark.parametrize("target", [coroutine, variable, keywords, positional, unknown, add, 3])
def test_what_makes_no_function(target: Any) -> None:
    with pytest.raises(ConfigError):
        make(target)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"idempotant": True}, "@function has no option idempotant; expected: cacheable, deprecated"),
        ({"streaming": True}, "has no option streaming"),
        ({"timeout": "2"}, "timeout must be seconds above 0, or None, got '2'"),
        ({"timeout": 0}, "timeout must be .* got 0"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(**options)(lambda: None)


@pytest.mark.parametrize("timeout", [True, float("nan"), float("inf"), -1.0])
def test_a_timeout_is_checked_alike_by_decorator_and_schema(timeout: Any) -> None:
    with pytest.raises(ConfigError) as by_decorator:
        make(timeout=timeout)(lambda: None)
    with pytest.raises(ConfigError) as by_schema:
        FunctionSchema("add", timeout=timeout)
    assert str(by_decorator.value) == str(by_schema.value)
    with pytest.raises(SerializationError):
        FunctionSchema.from_dict({"name": "add", "timeout": timeout})


def test_a_flag_is_true_or_false() -> None:
    given: Any = "no"
    with pytest.raises(ConfigError, match=r"function\.idempotent must be True or False, got 'no'"):
        make(idempotent=given)(lambda: None)
