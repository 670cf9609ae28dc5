"""Callables: what runs when one is called, and its type hints."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest

from portal.errors import ConfigError
from portal.schema.callables import implementation_of, resolved_hints


def add(a: int, b: float = 1) -> float:
    return a + b


def wrapping(target: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(target)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return target(*args, **kwargs)

    return wrapper


class Decorator:
    """Is a decorator object, as a library of retries may have it."""

    def __init__(self, target: Callable[..., Any]) -> None:
        functools.update_wrapper(self, target)
        self.target = target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.target(*args, **kwargs)


class Adder:
    def __call__(self, n: int) -> int:
        return n


@dataclass
class Copied:
    n: int

    def copy(self, other: Self) -> Self:
        return other

    @classmethod
    def make(cls) -> Self:
        return cls(1)


@pytest.mark.parametrize(
    "target",
    [
        add,
        wrapping(add),
        functools.partial(add, b=2),
        functools.partial(wrapping(functools.partial(add, b=2))),
        Decorator(add),
        functools.partial(Decorator(add), 1),
        functools.lru_cache(add),
    ],
)
def test_the_implementation_is_below_partials_and_wrappers(target: Any) -> None:
    assert implementation_of(target) is add
    assert resolved_hints(target) == {"a": int, "b": float, "return": float}


def test_the_implementation_of_an_object_is_its_call() -> None:
    assert implementation_of(Adder()) is Adder.__call__
    assert resolved_hints(Adder()) == {"n": int, "return": int}
    assert implementation_of(Adder) is Adder
    assert implementation_of(len) is len


def test_self_is_the_class_of_a_method() -> None:
    assert resolved_hints(Copied(1).copy) == {"other": Copied, "return": Copied}
    assert resolved_hints(Copied.make) == {"return": Copied}


def test_a_hint_that_cannot_be_resolved_is_named() -> None:
    def broken(a: Absent) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigError, match=r"broken: a type hint cannot be resolved: .*Absent"):
        resolved_hints(broken)
