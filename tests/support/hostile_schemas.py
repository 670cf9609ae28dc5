"""Functions that are hard to describe, for the tests of documents."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from portal import Function, function

__all__ = ["functions"]


class Colour(enum.Enum):
    """An enum with values of two kinds."""

    RED = "red"
    ONE = 1


@dataclass
class Tree:
    """A recursive record."""

    name: str
    children: list[Tree]
    parent: Tree | None = None


@dataclass
class Pair:
    """Two of them."""

    left: Tree
    right: Tree


def nothing() -> None:
    pass


def times(at: datetime, on: date, when: time, span: timedelta) -> timedelta:
    return span


def texts(money: Decimal, key: uuid.UUID, blob: bytes, colour: Colour, word: Literal["a", 2] = "a") -> bytes:
    return blob


def containers(pairs: dict[str, int], both: tuple[int, str], some: set[int], anything: Any = None) -> set[int]:
    return some


def grow(tree: Tree) -> Tree:
    return tree


def graft(pair: Pair) -> list[Tree]:
    return [pair.left, pair.right]


def trees(number: int) -> Iterator[Tree]:
    """A stream of records."""
    for _ in range(min(number, 3)):
        yield Tree("t", [])


LINKED: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "value": {"$ref": "#/$defs/a~1b%20c"},
        "next": {"$ref": "#"},
        "again": {"$ref": "#/properties/value"},
        "$ref": {"const": {"$ref": "#/$defs/no-reference"}},
    },
    "$defs": {"a/b c": {"type": ["integer", "null"], "maximum": 9}, "Tree": {"type": "string", "maxLength": 3}},
    "additionalProperties": False,
}
ANCHORED: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"$ref": "#here"}},
    "$defs": {"x": {"$anchor": "here", "type": "string", "maxLength": 5}},
}


def functions() -> list[Function]:
    """The functions, new ones each time."""
    plain = [function(one) for one in (nothing, times, texts, containers, grow, graft, trees)]
    return [
        *plain,
        function(version="2", deprecated=True, timeout=30.0)(nothing),
        function(version="1!3+local.1")(nothing),
        function(name="naïve-{name}.ü")(nothing),
        function(name="日本")(nothing),
        function(name="9lives", tags=("Nine", "orders"))(nothing),
        function(name="grow_")(grow),
        function(name="describe_grow")(grow),
        function(name="linked", input=LINKED, output={"$ref": "#/$defs/Tree", "$defs": LINKED["$defs"]})(
            lambda **given: "abc"
        ),
        function(name="anchored", input=ANCHORED, output=True, examples=[{"input": {"a": "x"}, "output": None}])(
            lambda **given: None
        ),
    ]
