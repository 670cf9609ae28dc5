"""Matchers: values that equal whatever fits them, for `when(...)` and `with_params(...)`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["ANY", "Matcher", "any_of", "approx", "having", "matching", "params_match", "where"]


class Matcher:
    """Equals every value that its test accepts; its repr says which those are. Any thread."""

    __slots__ = ("_fits", "_words")

    def __init__(self, fits: Callable[[Any], bool], words: str) -> None:
        self._fits = fits
        self._words = words

    def __eq__(self, other: object) -> bool:
        return self._fits(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._words


ANY = Matcher(lambda _: True, "ANY")


def any_of(*choices: Any) -> Matcher:
    """A value of one of the given types, or equal to one of the given values.

    Types are those of JSON: True is no int, and an int is a valid float.
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
    """Text in which the regular expression is found."""
    found = re.compile(pattern).search
    return Matcher(lambda value: isinstance(value, str) and found(value) is not None, f"matching({pattern!r})")


def approx(number: float, *, relative: float = 1e-6, absolute: float = 1e-12) -> Matcher:
    """A number close to `number`."""

    def close(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return math.isclose(value, number, rel_tol=relative, abs_tol=absolute)

    return Matcher(close, f"approx({number!r})")


def having(**members: Any) -> Matcher:
    """An object that has these members, and perhaps others."""
    words = ", ".join(f"{name}={value!r}" for name, value in members.items())
    return Matcher(lambda value: isinstance(value, dict) and params_match(members, value), f"having({words})")


def where(predicate: Callable[[Any], bool], words: str = "") -> Matcher:
    """A value for which the predicate is true; one that it cannot take (it raises) does not fit."""
    said = words or getattr(predicate, "__name__", "predicate")

    def holds(value: Any) -> bool:
        try:
            return bool(predicate(value))
        except Exception:
            return False

    return Matcher(holds, f"where({said})")


def params_match(wanted: Mapping[str, Any], params: Any) -> bool:
    """Whether every wanted parameter is there and fits; what is no object has no parameters."""
    if not isinstance(params, Mapping):
        return not wanted
    return all(name in params and value == params[name] for name, value in wanted.items())
