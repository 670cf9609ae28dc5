"""Constraints for `Annotated[...]`, with the names of the annotated-types library.

    def order(quantity: Annotated[int, Ge(1), Le(100)], code: Annotated[str, Pattern("^[A-Z]{3}$")]) -> Order: ...

Those of annotated-types, pydantic and msgspec work too; see `foreign`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "Description",
    "Example",
    "Ge",
    "Gt",
    "Le",
    "Lt",
    "MaxLen",
    "MinLen",
    "MultipleOf",
    "Pattern",
    "Unique",
]


@dataclass(frozen=True, slots=True)
class Gt:
    """A number, or a date, time or duration, greater than `gt`."""

    gt: Any


@dataclass(frozen=True, slots=True)
class Ge:
    """A number, or a date, time or duration, greater than or equal to `ge`."""

    ge: Any


@dataclass(frozen=True, slots=True)
class Lt:
    """A number, or a date, time or duration, less than `lt`."""

    lt: Any


@dataclass(frozen=True, slots=True)
class Le:
    """A number, or a date, time or duration, less than or equal to `le`."""

    le: Any


@dataclass(frozen=True, slots=True)
class MultipleOf:
    """A number or duration that is a whole multiple of `multiple_of`."""

    multiple_of: Any


@dataclass(frozen=True, slots=True)
class MinLen:
    """At least `min_length` characters, bytes, items or members."""

    min_length: int


@dataclass(frozen=True, slots=True)
class MaxLen:
    """At most `max_length` characters, bytes, items or members."""

    max_length: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text that contains a match of the ECMA-262 regular expression `pattern`; ^ and $ anchor it to the whole text.

    For a Decimal, a date and their like it is the text in JSON.
    """

    pattern: str


@dataclass(frozen=True, slots=True)
class Unique:
    """A list without equal items."""


@dataclass(frozen=True, slots=True)
class Description:
    """A sentence about the value, for people; it validates nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """An example of the value, as JSON data; it validates nothing."""

    value: Any
