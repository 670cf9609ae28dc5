"""Conversions of JSON Schemas to type hints and marshmallow schemas."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import marshmallow
import pytest

from portal import ConfigError, Schema
from portal.schema.constraints import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf, Pattern, Unique
from portal.schema.conversion import hint_from_json, marshmallow_from_json


@dataclass
class Point:
    x: int
    y: int = 0


class Row(NamedTuple):
    name: str
    size: int


class Part(TypedDict):
    name: str
    size: NotRequired[int]


HINTS: list[Any] = [
    int, float, str, bool, None, Any, bytes, datetime, date, time, timedelta, Decimal, UUID,
    list[int], list[list[str]], dict[str, float], tuple[int, str], tuple[int, ...],
    int | None, int | str, str | int | None, Literal["a", "b"], Literal[1, "x", None],
    Annotated[int, Ge(1), Le(9)], Annotated[float, Gt(0), Lt(1)], Annotated[int, MultipleOf(3)],
    Annotated[str, MinLen(1), MaxLen(3), Pattern("^a")], Annotated[list[int], MinLen(1), MaxLen(2), Unique()],
    list[Annotated[int, Ge(0)]], Part, dict[str, Part], list[date], date | None,
]  # fmt: skip


@pytest.mark.parametrize("hint", HINTS)
def test_hint_to_json_to_hint_to_json(hint: Any) -> None:
    json = Schema.of(hint).json
    again = Schema.of(Schema.of(json).to_hint()).json
    assert _without_titles(again) == _without_titles(json)


def _without_titles(json: Any) -> Any:
    if isinstance(json, dict):
        return {key: _without_titles(value) for key, value in json.items() if key != "title"}
    return [_without_titles(value) for value in json] if isinstance(json, list) else json


@pytest.mark.parametrize("hint", [Point, Row])
def test_classes_become_typed_dicts(hint: Any) -> None:
    made = Schema.of(hint).to_json()
    found = hint_from_json(made)
    names = typing.get_type_hints(found)
    assert set(names) == set(made["properties"])
    assert found.__required_keys__ == frozenset(made["required"])


WITHOUT_HINT: list[Any] = [
    True,
    {},
    {"not": {"type": "string"}},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "integer"}}},
    {"type": "object", "additionalProperties": False, "required": ["a"]},
    {"allOf": [{"type": "string"}]},
    {"anyOf": [{"type": "string"}, {}]},
    {"anyOf": []},
    {"enum": [[1]]},
    {"enum": [1.5]},
    {"type": "array", "prefixItems": [{"type": "string"}]},
    {"$ref": "#/$defs/missing"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    {"type": "nonsense"},
]


@pytest.mark.parametrize("schema", WITHOUT_HINT)
def test_a_schema_without_hint_becomes_any(schema: Any) -> None:
    assert hint_from_json(schema) is Any


@pytest.mark.parametrize(
    ("schema", "hint"),
    [
        ({"const": 3}, Literal[3]),
        ({"type": ["integer", "null"]}, int | None),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, int | str),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, int),
        ({"type": "array", "items": {"$ref": "#/$defs/missing"}}, list[Any]),
        ({"type": "string", "contentEncoding": "base64"}, bytes),
        ({"type": "string", "format": "email"}, str),
    ],
)
def test_a_schema_becomes_its_nearest_hint(schema: Any, hint: Any) -> None:
    assert hint_from_json(schema) == hint


def test_a_recursive_part_becomes_any() -> None:
    tree = {"type": "array", "items": {"$ref": "#/$defs/tree"}}
    assert hint_from_json({"$ref": "#/$defs/tree", "$defs": {"tree": tree}}) == list[Any]


ORDER: dict[str, Any] = {
    "type": "object",
    "title": "An order",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5, "description": "whose"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
        "rate": {"type": "number", "exclusiveMinimum": 0},
        "on": {"type": "boolean"},
        "due": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "at": {"type": "string", "format": "date-time"},
        "when": {"type": "string", "format": "time"},
        "key": {"type": "string", "format": "uuid"},
        "price": {"type": "string", "format": "decimal"},
        "size": {"enum": ["s", "m"]},
        "kind": {"const": "k"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "part": {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
        "maybe": {"type": ["integer", "null"]},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}]},
        "any": {},
    },
    "required": ["name"],
    "additionalProperties": False,
}

GOOD: list[dict[str, Any]] = [
    {"name": "a"},
    {"name": "a", "count": 2, "rate": 0.5, "on": True, "due": None, "at": "2026-01-01T00:00:00Z"},
    {"name": "a", "due": "2026-01-01", "when": "10:00:00", "key": "12345678-1234-5678-1234-567812345678"},
    {"name": "a", "price": "1.5", "size": "s", "kind": "k", "tags": ["x"], "part": {"a": 1}, "maybe": None, "any": {}},
    {"name": "a", "pair": [1], "any": None},
]
BAD: list[dict[str, Any]] = [
    {},
    {"name": ""},
    {"name": "abcdef"},
    {"name": "a", "count": 0},
    {"name": "a", "count": 10},
    {"name": "a", "rate": 0},
    {"name": "a", "due": "x"},
    {"name": "a", "size": "l"},
    {"name": "a", "kind": "x"},
    {"name": "a", "tags": []},
    {"name": "a", "tags": ["a", "b", "c"]},
    {"name": "a", "part": {"b": 1}},
    {"name": "a", "other": 1},
    {"name": None},
]


def test_a_converted_marshmallow_schema_accepts_the_same_values() -> None:
    made = marshmallow_from_json(ORDER)
    schema = Schema.of(ORDER, formats=True)
    for value in GOOD:
        assert made().validate(value) == {}
        assert schema.accepts(value)
    for value in BAD:
        assert made().validate(value) != {}
        assert not schema.accepts(value)


def test_json_to_marshmallow_and_back() -> None:
    made = Schema.of(ORDER).to_marshmallow()
    assert issubclass(made, marshmallow.Schema)
    back = Schema.of(made).json
    for name in ("name", "count", "rate", "on", "due", "at", "when", "key", "price", "tags", "part"):
        assert back["properties"][name] == ORDER["properties"][name]
    assert back["required"] == ["name"]
    assert back["additionalProperties"] is False


def test_hint_to_marshmallow_and_marshmallow_to_hint() -> None:
    made = Schema.of(Point).to_marshmallow()
    assert made().load({"x": 1}) == {"x": 1, "y": 0}
    hint = Schema.of(made).to_hint()
    assert Schema.of(hint).accepts({"x": 1})
    assert not Schema.of(hint).accepts({"x": "1"})


def test_an_open_object_keeps_unknown_members() -> None:
    made = marshmallow_from_json({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert made().load({"a": 1, "b": 2}) == {"a": 1, "b": 2}


def test_only_objects_become_marshmallow_schemas() -> None:
    with pytest.raises(ConfigError):
        marshmallow_from_json({"type": "array"})


@pytest.mark.parametrize("kind", ["object", "array", "anyOf"])
def test_a_hint_with_too_many_parts_is_any(kind: str) -> None:
    def with_parts(length: int) -> dict[str, Any]:
        parts: dict[str, Any] = {f"d{length}": {"type": "integer"}}
        for number in range(length):
            part = {"$ref": f"#/$defs/d{number + 1}"}
            parts[f"d{number}"] = {
                "object": {"type": "object", "properties": {"a": part, "b": part}, "additionalProperties": False},
                "array": {"type": "array", "prefixItems": [part, part], "items": False, "minItems": 2},
                "anyOf": {"anyOf": [part, {"type": "array", "items": part}]},
            }[kind]
        return {"$defs": parts, "$ref": "#/$defs/d0"}

    assert hint_from_json(with_parts(3)) is not Any
    assert hint_from_json(with_parts(30)) is Any


def test_a_union_of_very_many_alternatives_is_any() -> None:
    assert hint_from_json({"anyOf": [{"const": number} for number in range(256)]}) is not Any
    assert hint_from_json({"anyOf": [{"const": number} for number in range(257)]}) is Any


@pytest.mark.parametrize(
    ("hint", "native"),
    [
        (dict[int, str], {-1: "a"}),
        (dict[UUID, Fraction], {UUID(int=1): Fraction(1, 3)}),
        (dict[date, list[int]], {date(2026, 1, 31): [1]}),
        (list[IPv4Network], [IPv4Network("10.0.0.0/8")]),
        (Path, Path("a")),
    ],
)
def test_the_hint_of_a_json_schema_has_the_same_native_values(hint: Any, native: Any) -> None:
    schema = Schema.of(hint)
    found = Schema.of(hint_from_json(schema.json))
    assert found.json == schema.json
    assert found.load(schema.dump(native)) == native


@pytest.mark.parametrize(
    "names",
    [{"pattern": "^a"}, {"type": "string", "pattern": "^a"}, {"enum": ["1"]}, True, {"type": "integer", "format": "x"}],
)
def test_an_object_with_other_names_is_any(names: Any) -> None:
    json = {"type": "object", "propertyNames": names, "additionalProperties": {}}
    hint = hint_from_json(json)
    assert hint is Any


def test_an_object_with_names_of_a_wrong_type_is_any() -> None:
    assert hint_from_json({"type": "array", "propertyNames": True, "additionalProperties": True}) is Any
