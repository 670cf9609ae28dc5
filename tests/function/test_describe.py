"""describe: options of `@function`, callables without a schema, wrong options."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pytest

from portal import (
    CallContext,
    ConfigError,
    FunctionSchema,
    RegistryError,
    SerializationError,
    ValidationError,
)
from portal import function as make


@make
def add(a: float, b: float = 1) -> float:
    """Add two numbers."""
    return a + b


def test_options_are_members_of_the_schema() -> None:
    made = make(
        name="sum", version="2.1", description="Sums.", tags=["math"], idempotent=True, cacheable=True, deprecated=True,
        timeout=1.5, examples=[{"input": {"a": 1}, "output": 2.0}],
    )(add.target)  # fmt: skip
    schema = made.schema
    assert (schema.name, schema.version, schema.description, schema.tags) == ("sum", "2.1", "Sums.", ("math",))
    assert (schema.idempotent, schema.cacheable, schema.deprecated, schema.timeout) == (True, True, True, 1.5)
    assert schema.examples[0]["output"] == 2.0
    assert schema.fingerprint != add.schema.fingerprint


def test_the_schemas_in_the_options_replace_the_hints() -> None:
    made = make(
        input={"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]},
        output={"type": "integer"},
        name="double",
    )(lambda n: n * 2)
    assert made.invoke({"n": 2}, CallContext()) == 4
    with pytest.raises(ValidationError):
        made.invoke({"n": 0}, CallContext())


class Adder:
    def __call__(self, n: int) -> int:
        return n + 1

    def add(self, n: int) -> int:
        return n + 2


def test_objects_methods_and_partials_are_callables_too() -> None:
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


def nothing() -> None:
    """Do nothing."""


def unknown(a: int) -> NoSuchName:  # type: ignore[name-defined]  # noqa: F821
    return a


@pytest.mark.parametrize("target", [coroutine, variable, keywords, positional, unknown, add, 3])
def test_a_callable_without_a_schema_is_rejected(target: Any) -> None:
    with pytest.raises(ConfigError):
        make(target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"idempotant": True}, "@function has no option idempotant; expected: cacheable, deprecated"),
        ({"streaming": True}, "has no option streaming"),
        ({"timeout": "2"}, "timeout must be seconds above 0, or None, got '2'"),
        ({"timeout": 0}, "timeout must be .* got 0"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**options)(nothing)


@pytest.mark.parametrize("target", [lambda a: a, functools.partial(lambda a: a, a=1)])
def test_a_lambda_needs_a_name(target: Any) -> None:
    with pytest.raises(ConfigError, match=r"function\.name must be given for a lambda; use function\(name=\.\.\.\)"):
        make(target)
    assert make(name="same")(target).name == "same"


@pytest.mark.parametrize("timeout", [True, float("nan"), float("inf"), -1.0])
def test_decorator_and_schema_validate_a_timeout_alike(timeout: Any) -> None:
    with pytest.raises(ConfigError) as by_decorator:
        make(timeout=timeout)(nothing)
    with pytest.raises(ConfigError) as by_schema:
        FunctionSchema("add", timeout=timeout)
    assert str(by_decorator.value) == str(by_schema.value)
    with pytest.raises(SerializationError):
        FunctionSchema.from_dict({"name": "add", "timeout": timeout})


def test_the_message_names_the_callable() -> None:
    with pytest.raises(ConfigError, match="coroutine must be a function without async, got a coroutine function"):
        make(coroutine)
    with pytest.raises(ConfigError, match="add must be a plain callable, got a Function"):
        make(add)


def test_a_flag_must_be_true_or_false() -> None:
    given: Any = "no"
    with pytest.raises(ConfigError, match=r"function\.idempotent must be True or False, got 'no'"):
        make(idempotent=given)(nothing)


@pytest.mark.parametrize("name", ["", " ", "a/b", 3])
def test_a_name_that_is_given_is_taken_or_rejected(name: Any) -> None:
    with pytest.raises(RegistryError) as caught:
        make(name=name)(add.target)
    assert caught.value.kind == "invalid"
    assert make(name=None)(add.target).name == "add"


@dataclass
class Made:
    n: int


class Opaque:
    def __init__(self, n: int) -> None:
        self.n = n


class CallIsNoFunction:
    __call__ = None


def test_the_result_of_a_class_is_an_instance_of_it() -> None:
    made = make(Made)
    assert made.invoke({"n": 1}, CallContext()) == {"n": 1}
    assert made(n=1) == Made(1)
    with pytest.raises(ConfigError, match="Opaque is a class without a JSON Schema"):
        make(Opaque)


@pytest.mark.parametrize("target", [CallIsNoFunction(), dict])
def test_a_callable_without_a_signature_is_rejected(target: Any) -> None:
    with pytest.raises(ConfigError, match="has no signature"):
        make(target)


def test_the_error_of_a_hint_names_the_result() -> None:
    class Plain:
        """Has no schema."""

    def open_order(number: int) -> Plain:
        return Plain()

    open_order.__annotations__["return"] = Plain  # a local name cannot be resolved

    place = f"the result of {open_order.__qualname__}"
    with pytest.raises(ConfigError) as caught:
        make(open_order)
    assert str(caught.value).startswith(f"{place}: the type hint ")
    assert "Plain has no JSON Schema; expected: a dataclass" in str(caught.value)
    assert str(caught.value).count("expected") == 1
    assert caught.value.path == place


def test_a_class_without_a_schema_is_told_about_services() -> None:
    class Shop:
        def open(self) -> bool:
            return True

    with pytest.raises(
        ConfigError, match=r"^Shop is a class without a JSON Schema; expected: a function; .*apply_service$"
    ):
        make(Shop)
