"""Faults of unions: they name the alternatives, and the faults of the nearest one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator

from portal.errors import ValidationError
from portal.schema import Schema
from portal.schema.nearest import form_words, nearest_form


@dataclass
class Cat:
    kind: Literal["cat"]
    name: str
    lives: int = 9


@dataclass
class Dog:
    kind: Literal["dog"]
    name: str
    breed: str


@dataclass
class Wide:
    a: int
    b: int
    c: int


@dataclass
class Narrow:
    a: int
    x: str


@dataclass
class Tree:
    left: Tree | Cat | None = None


FAULTS: list[tuple[Any, Any, list[tuple[str, str]]]] = [
    (
        Cat | Dog,
        {"kind": "dog", "name": 1},
        [
            ("", "must be Cat or Dog; the nearest is Dog"),
            ("/breed", "'breed' is required"),
            ("/name", "must be a string, got an integer"),
        ],
    ),
    (Wide | Narrow, {"a": 1, "b": 2}, [("", "must be Wide or Narrow; the nearest is Wide"), ("/c", "'c' is required")]),
    (
        Wide | Narrow,
        {"a": 1, "x": 2},
        [("", "must be Wide or Narrow; the nearest is Narrow"), ("/x", "must be a string, got an integer")],
    ),
    (
        list[Cat | Dog],
        [{"kind": "cat", "name": "x"}, {"kind": "cat"}],
        [("/1", "must be Cat or Dog; the nearest is Cat"), ("/1/name", "'name' is required")],
    ),
    (Cat | None, {"kind": "cat"}, [("/name", "'name' is required")]),
    (int | date | None, [1], [("", "must be an integer, a string (date) or null, got an array")]),
    (int | date | None, "x", [("", "must have the format 'date', such as 2026-01-31, got 'x'")]),
    (Literal["a", "b"] | int, "c", [("", "must be one of ['a', 'b'] or an integer, got 'c'")]),
    (
        dict[str, int] | list[int],
        5,
        [("", "must be an object (members: an integer) or an array (items: an integer), got 5")],
    ),
    (
        list[int] | list[str],
        [1, "a"],
        [
            ("", "must be an array (items: an integer) or an array (items: a string); the nearest is an array "
             "(items: an integer)"),
            ("/1", "must be an integer, got a string"),
        ],
    ),
    (
        Tree,
        {"left": {"left": 5, "name": "x"}},
        [
            ("/left", "must be Tree, Cat or null; the nearest is Tree"),
            ("/left/left", "must be Tree, Cat or null, got 5"),
            ("/left/name", "'name' is unknown"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "value", "faults"), FAULTS)
def test_the_faults_of_the_nearest_alternative_are_listed(hint: Any, value: Any, faults: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Schema.of(hint).load(value)
    assert [(fault.path, fault.message) for fault in caught.value.errors] == faults


@pytest.mark.parametrize(
    ("schemas", "words"),
    [
        ([{"title": "Cat"}, {"$ref": "#/$defs/Dog"}], "Cat or Dog"),
        ([{"title": "Size", "enum": ["s", "m"]}, {"type": "null"}], "Size (one of ['s', 'm']) or null"),
        ([{"type": ["string", "null"]}, True, False], "a string or null, anything or nothing"),
        ([{"const": 1}, {"enum": ["a"]}, {"minimum": 1}], "1, one of ['a'] or another form"),
        ([{"type": "string", "format": "date"}] * 2, "a string (date)"),
        ([{"const": number} for number in range(20)], "0, 1, 2, 3, 4, 5, 6, 7 or 12 more"),
        ([{"title": "x" * 5_000}], "x" * 76 + "..."),
    ],
)
def test_alternatives_have_words(schemas: list[Any], words: str) -> None:
    assert form_words(schemas) == words


def test_no_alternative_is_near_a_value_of_another_type() -> None:
    (error,) = Draft202012Validator({"anyOf": [{"type": "null"}, {"const": 3}, False]}).iter_errors("a")
    assert nearest_form(error) is None
