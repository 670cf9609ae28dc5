"""What `Annotated[...]` may say about a value, named as the annotated-types library names it.

    def order(quantity: Annotated[int, Ge(1), Le(100)], code: Annotated[str, Pattern("^[A-Z]{3}$")]) -> Order: ...

Objects of annotated-types itself work too: they are known by class and attribute names, without an import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

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
    "constrain",
]


@dataclass(frozen=True, slots=True)
class Gt:
    """A number greater than `gt`."""

    gt: float


@dataclass(frozen=True, slots=True)
class Ge:
    """A number greater than or equal to `ge`."""

    ge: float


@dataclass(frozen=True, slots=True)
class Lt:
    """A number less than `lt`."""

    lt: float


@dataclass(frozen=True, slots=True)
class Le:
    """A number less than or equal to `le`."""

    le: float


@dataclass(frozen=True, slots=True)
class MultipleOf:
    """A number that is a whole multiple of `multiple_of`."""

    multiple_of: float


@dataclass(frozen=True, slots=True)
class MinLen:
    """At least `min_length` characters, items or members."""

    min_length: int


@dataclass(frozen=True, slots=True)
class MaxLen:
    """At most `max_length` characters, items or members."""

    max_length: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text in which the ECMA-262 regular expression `pattern` is found; anchor it with ^ and $ for the whole text."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Unique:
    """A list without equal items."""


@dataclass(frozen=True, slots=True)
class Description:
    """A sentence about the value, for people; checks nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A value as an example, as JSON data; checks nothing."""

    value: Any


_NUMBER = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
}
_LENGTH = {
    "min_length": {"string": "minLength", "array": "minItems", "object": "minProperties"},
    "max_length": {"string": "maxLength", "array": "maxItems", "object": "maxProperties"},
}
_CLASSES = frozenset(["Gt", "Ge", "Lt", "Le", "Interval", "MultipleOf", "MinLen", "MaxLen", "Len"])


def constrain(json: dict[str, Any], notes: tuple[Any, ...], where: str) -> dict[str, Any]:
    """The JSON Schema with the constraints among the annotations added; other annotations are left alone.

    Raises:
        ConfigError: for a constraint that a value of this type cannot have; `where` names the hint.
    """
    added: dict[str, Any] = {}
    kinds = _kinds(json)
    for note in notes:
        for keyword, value in _keywords(note, kinds, where):
            if keyword == "examples":
                added.setdefault("examples", []).append(value)
            elif keyword in added or (keyword in json and keyword != "description"):
                added.setdefault("allOf", []).append({keyword: value})
            else:
                added[keyword] = value
    return {**json, **added}


def _kinds(json: dict[str, Any]) -> set[str]:
    stated = json.get("type")
    if stated is not None:
        return {stated} if isinstance(stated, str) else set(stated)
    found: set[str] = set()
    for part in (*json.get("anyOf", ()), *json.get("allOf", ())):
        found |= _kinds(part)
    return found or {"string", "array", "object", "number"}


def _keywords(note: Any, kinds: set[str], where: str) -> Iterator[tuple[str, Any]]:
    name = type(note).__name__
    if isinstance(note, Description):
        yield "description", note.text
    elif isinstance(note, Example):
        yield "examples", note.value
    elif isinstance(note, Pattern):
        _need(kinds & {"string"}, note, where)
        yield "pattern", note.pattern
    elif isinstance(note, Unique):
        _need(kinds & {"array"}, note, where)
        yield "uniqueItems", True
    elif name in _CLASSES:
        yield from _bounds(note, kinds, where)


def _bounds(note: Any, kinds: set[str], where: str) -> Iterator[tuple[str, Any]]:
    for attribute, keyword in _NUMBER.items():
        value = getattr(note, attribute, None)
        if value is not None:
            _need(kinds & {"number", "integer"} and type(value) in (int, float), note, where)
            yield keyword, value
    for attribute, by_kind in _LENGTH.items():
        value = getattr(note, attribute, None)
        if value is None or (value == 0 and attribute == "min_length"):
            continue
        fitting = [by_kind[kind] for kind in sorted(kinds & by_kind.keys())]
        _need(fitting, note, where)
        for keyword in fitting:
            yield keyword, value


def _need(fits: object, note: Any, where: str) -> None:
    if not fits:
        raise ConfigError(f"{note!r} cannot constrain {where}: its JSON form has no such property", path=where)
