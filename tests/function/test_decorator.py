from __future__ import annotations

import pytest

from portal import ConfigError, Function, RegistryError, function


def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


def test_without_options_the_callable_describes_the_function() -> None:
    made = function(add)
    assert isinstance(made, Function)
    assert (made.schema.name, made.schema.version, made.schema.description) == ("add", "1", "Add two numbers.")
    assert made(1) == 3


def test_options_describe_the_function() -> None:
    @function(
        name="sum",
        version="2.1",
        description="Sum.",
        tags=("math",),
        examples=[{"input": {"a": 1}, "output": 3}],
        idempotent=True,
        cacheable=True,
        deprecated=True,
        timeout=1.5,
    )
    def made(a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    schema = made.schema
    assert (schema.name, schema.version, schema.description) == ("sum", "2.1", "Sum.")
    assert (list(schema.tags), schema.timeout) == (["math"], 1.5)
    assert (schema.idempotent, schema.cacheable, schema.deprecated) == (True, True, True)
    assert made(a=1) == 3


def test_each_use_makes_a_function_of_its_own() -> None:
    decorate = function(version="2")
    first, second = decorate(add), decorate(add)
    assert first is not second
    assert function(add).schema.version == "1"


def test_the_wrapped_callable_stays_as_it_is() -> None:
    made = function(add)
    assert add(1) == 3
    assert made.__wrapped__ is add
    assert made.__name__ == "add"


@pytest.mark.parametrize(
    ("options", "path"),
    [({"timeout": -1}, "timeout"), ({"validate_output": "maybe"}, "validate_output"), ({"name": "a b"}, "name")],
)
def test_a_wrong_option_is_rejected(options: dict[str, object], path: str) -> None:
    with pytest.raises((ConfigError, RegistryError), match=path):
        function(**options)(add)  # type: ignore[call-overload]


def test_a_coroutine_function_is_rejected() -> None:
    async def fetch() -> int:
        return 1

    with pytest.raises(ConfigError, match="fetch"):
        function(fetch)
