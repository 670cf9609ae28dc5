"""Constraints for `Annotated[...]`, with the names of the annotated-types library.

    def order(quantity: Annotated[int, Ge(1), Le(100)], code: Annotated[str, Pattern("^[A-Z]{3}$")]) -> Order: ...

The classes of annotated-types itself work too. Portal recognizes them by the names of the class and its attributes, and
does not import the library.
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
    """Text that contains a match of the ECMA-262 regular expression `pattern`; ^ and $ anchor it to the whole text."""

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


_NUMBER_KEYWORDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
}
_LENGTH_KEYWORDS = {
    "min_length": {"string": "minLength", "array": "minItems", "object": "minProperties"},
    "max_length": {"string": "maxLength", "array": "maxItems", "object": "maxProperties"},
}
_LIMIT_CLASSES = frozenset(["Gt", "Ge", "Lt", "Le", "Interval", "MultipleOf", "MinLen", "MaxLen", "Len"])


def constrain(json: dict[str, Any], annotations: tuple[Any, ...], hint_name: str) -> dict[str, Any]:
    """Return a JSON Schema with the constraints among some annotations added; other annotations are ignored.

    Args:
        json: the JSON Schema.
        annotations: the arguments of Annotated after the first.
        hint_name: the constrained hint, for messages.

    Raises:
        ConfigError: a constraint does not apply to the type of the values.
    """
    added: dict[str, Any] = {}
    types = _json_types(json)
    for annotation in annotations:
        for keyword, value in _keywords(annotation, types, hint_name):
            if keyword == "examples":
                added.setdefault("examples", []).append(value)
            elif keyword in added or (keyword in json and keyword != "description"):
                added.setdefault("allOf", []).append({keyword: value})
            else:
                added[keyword] = value
    return {**json, **added}


def _json_types(json: dict[str, Any]) -> set[str]:
    stated = json.get("type")
    if stated is not None:
        return {stated} if isinstance(stated, str) else set(stated)
    found: set[str] = set()
    for part in (*json.get("anyOf", ()), *json.get("allOf", ())):
        found |= _json_types(part)
    return found or {"string", "array", "object", "number"}


def _keywords(annotation: Any, types: set[str], hint_name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(annotation, Description):
        yield "description", annotation.text
    elif isinstance(annotation, Example):
        yield "examples", annotation.value
    elif isinstance(annotation, Pattern):
        _require_applicable("string" in types, annotation, hint_name)
        yield "pattern", annotation.pattern
    elif isinstance(annotation, Unique):
        _require_applicable("array" in types, annotation, hint_name)
        yield "uniqueItems", True
    elif type(annotation).__name__ in _LIMIT_CLASSES:
        yield from _limit_keywords(annotation, types, hint_name)


def _limit_keywords(annotation: Any, types: set[str], hint_name: str) -> Iterator[tuple[str, Any]]:
    for attribute, keyword in _NUMBER_KEYWORDS.items():
        value = getattr(annotation, attribute, None)
        if value is not None:
            _require_applicable(types & {"number", "integer"} and type(value) in (int, float), annotation, hint_name)
            yield keyword, value
    for attribute, by_type in _LENGTH_KEYWORDS.items():
        value = getattr(annotation, attribute, None)
        if value is None or (value == 0 and attribute == "min_length"):
            continue
        keywords = [by_type[kind] for kind in sorted(types & by_type.keys())]
        _require_applicable(keywords, annotation, hint_name)
        for keyword in keywords:
            yield keyword, value


def _require_applicable(ok: object, annotation: Any, hint_name: str) -> None:
    if not ok:
        raise ConfigError(
            f"{annotation!r} cannot constrain {hint_name}: it does not apply to the JSON form of its values",
            path=hint_name,
        )
