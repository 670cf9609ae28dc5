"""Matchers: values that equal every value that passes a test, for `when(...)` and `with_params(...)`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["ANY", "Matcher", "any_of", "approx", "having", "matching", "params_match", "where"]


class Matcher:
    """Equals every value that passes its test; its repr describes them.

    Threads: any.
    """

    __slots__ = ("_accepts", "_description")

    def __init__(self, accepts: Callable[[Any], bool], description: str) -> None:
        self._accepts = accepts
        self._description = description

    def __eq__(self, other: object) -> bool:
        return self._accepts(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._description


ANY = Matcher(lambda _: True, "ANY")


def any_of(*choices: Any) -> Matcher:
    """Match a value of one of the given types, or one equal to one of the given values.

    Types are those of JSON: True is not an int, and an int is a valid float.
    """
    return Matcher(
        lambda value: any(_is_a(value, one) if isinstance(one, type) else one == value for one in choices),
        f"any_of({', '.join(one.__name__ if isinstance(one, type) else repr(one) for one in choices)})",
    )


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def matching(pattern: str) -> Matcher:
    """Match text that contains a match of the regular expression."""
    found = re.compile(pattern).search
    return Matcher(lambda value: isinstance(value, str) and found(value) is not None, f"matching({pattern!r})")


def approx(number: float, *, relative: float = 1e-6, absolute: float = 1e-12) -> Matcher:
    """Match a number close to `number`; True and False are not numbers."""

    def close(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return math.isclose(value, number, rel_tol=relative, abs_tol=absolute)

    return Matcher(close, f"approx({number!r})")


def having(**members: Any) -> Matcher:
    """Match an object that has these members, and perhaps others."""
    description = ", ".join(f"{name}={value!r}" for name, value in members.items())
    return Matcher(lambda value: isinstance(value, dict) and params_match(members, value), f"having({description})")


def where(predicate: Callable[[Any], bool], description: str = "") -> Matcher:
    """Match a value for which the predicate is true; a value for which it raises does not match."""
    name = description or getattr(predicate, "__name__", "predicate")

    def holds(value: Any) -> bool:
        try:
            return bool(predicate(value))
        except Exception:
            return False

    return Matcher(holds, f"where({name})")


def params_match(wanted: Mapping[str, Any], params: Any) -> bool:
    """Return whether the parameters hold every wanted one with an equal value; other values have no parameters."""
    if not isinstance(params, Mapping):
        return not wanted
    return all(name in params and value == params[name] for name, value in wanted.items())
