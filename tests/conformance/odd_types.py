"""Functions with types that generators of clients find hard: unions of classes, words of languages, odd choices.

Each returns one of its parameters.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID

from portal import HTTPPortal, function
from tests.conformance.generated_calls import Call

__all__ = ["CALLS", "portal"]


class Colour(enum.Enum):
    """Values that are no names."""

    RED = "red"
    EMPTY = ""
    SPACED = "a b"
    DASHED = "a-b"
    DIGIT = "1"


class Grade(enum.IntEnum):
    """A negative number."""

    LOW = -1
    HIGH = 5


@dataclass
class Point:
    """A record."""

    x: float
    y: float = 0.0


@dataclass
class Circle:
    """One of two shapes."""

    kind: Literal["circle"]
    radius: float


@dataclass
class Square:
    """The other shape."""

    kind: Literal["square"]
    side: Decimal


@dataclass
class Group:
    """A record that contains itself in a union."""

    name: str
    members: list[Group | Point] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class Words:
    """Members with words of Python and TypeScript."""

    class_: str
    from_: str = "x"
    self: int = 1
    import_: bool = False
    return_: list[str] = field(default_factory=list)


class Pair(NamedTuple):
    """A named tuple with an enum."""

    first: int
    second: Colour


RAW: dict[str, Any] = {
    "type": "object",
    "properties": {
        "a-b": {"type": "string"},
        "$id": {"type": "integer"},
        "class": {"enum": ["a", 1, None]},
        "arr": {"type": "array"},
        "tup": {"prefixItems": [{"type": "integer"}], "items": False},
        "one": {
            "oneOf": [
                {"type": "object", "properties": {"p": {"type": "integer"}}, "required": ["p"]},
                {"type": "string"},
            ]
        },
        "all": {"allOf": [{"type": "object"}, {"properties": {"q": {"type": "integer"}}}]},
        "deep": {"$ref": "#/$defs/a%20b"},
        "multi": {"type": ["integer", "string", "array"]},
        "c": {"const": "k"},
        "n": {"type": ["null"]},
    },
    "patternProperties": {"^x-": {"type": "string"}},
    "$defs": {"a b": {"type": ["object", "null"], "properties": {"z": {"enum": ["u", "v"]}}}},
}


def colours(
    one: Colour, many: list[Colour], maybe: Colour | None = None, by: dict[str, Colour] | None = None
) -> list[Colour]:
    return many


def grade(one: Grade = Grade.LOW) -> Grade:
    return one


def shapes(shape: Circle | Square, more: list[Circle | Square] | None = None) -> Circle | Square:
    return shape


def spots(one: Point | list[Point]) -> Point | list[Point]:
    return one


def groups(one: Group) -> Group:
    return one


def numbers(
    a: int | float, b: float | str, c: int | str | None = None, d: list[int | str] | None = None
) -> int | float:
    return a


def dates(a: date | datetime, b: date | int | None = None, c: list[date] | None = None) -> date | int:
    return b or 1


def tuples(a: tuple[int, Point], b: tuple[str, ...], c: tuple[int, int, int]) -> tuple[Point, int | str]:
    return a[1], 1


def maps(
    a: dict[str, Point], b: dict[str, int | str], c: dict[str, list[int]], d: dict[str, dict[str, Point | None]]
) -> dict[str, Point | None]:
    return d.get("x", {})


def pair(one: Pair, w: Words) -> Pair:
    return one


def literal(a: Literal["x"], b: Literal[1, 2], c: Literal[True], d: Literal["x", None] = None) -> Literal["done"]:
    return "done"


def nones(b: list[None], a: None = None) -> list[None]:
    return b


def money(a: Decimal, b: list[Decimal], c: dict[str, Decimal], d: Decimal | None = None) -> dict[str, Decimal]:
    return c


def ids(a: UUID, b: list[UUID], c: bytes, d: timedelta | None = None) -> UUID:
    return a


def remove(id: int, type: str = "a", object: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": id}


def anything_of_two(a: Any, b: list[Any] | dict[str, Any]) -> list[Any] | dict[str, Any]:
    return b


@function(name="odd-schema", input=RAW, output={})
def odd_schema(**given: Any) -> Any:
    return given


_POINT = {"x": 1.5, "y": 2.0}
_KEY = "5f0c0a4e-7d5c-4f0a-9a57-1b7f6a9f3f11"
_GROUP = {"name": "g", "members": [_POINT, {"name": "h", "members": [], "extra": {}}], "extra": {"a": 1}}
_PAIR = {"first": 1, "second": "a b"}
_RAW = {"a-b": "t", "$id": 3, "class": 1, "arr": [1, "a"], "tup": [4], "deep": {"z": "u"}, "multi": "s", "c": "k"}

CALLS = [
    Call("colours", {"one": "red", "many": ["", "a b", "a-b"], "maybe": "1", "by": {"k": "red"}}, ["", "a b", "a-b"]),
    Call("colours", {"one": "", "many": []}, []),
    Call("grade", {}, -1),
    Call("grade", {"one": 5}, 5),
    Call("shapes", {"shape": {"kind": "circle", "radius": 1.5}}, {"kind": "circle", "radius": 1.5}),
    Call(
        "shapes",
        {"shape": {"kind": "square", "side": "2.50"}, "more": [{"kind": "circle", "radius": 2.5}]},
        {"kind": "square", "side": "2.50"},
    ),
    Call("spots", {"one": _POINT}, _POINT),
    Call("spots", {"one": [_POINT, _POINT]}, [_POINT, _POINT]),
    Call("groups", {"one": _GROUP}, _GROUP),
    Call("numbers", {"a": 1, "b": "t", "c": "u", "d": [1, "v"]}, 1),
    Call("numbers", {"a": 1.5, "b": 2.5}, 1.5),
    Call("dates", {"a": "2026-01-31", "b": 3, "c": ["2026-01-31"]}, 3),
    Call("dates", {"a": "2026-01-31T09:00:00+00:00", "b": "2026-02-01"}, "2026-02-01"),
    Call("tuples", {"a": [1, _POINT], "b": ["x"], "c": [1, 2, 3]}, [_POINT, 1]),
    Call(
        "maps",
        {"a": {"k": _POINT}, "b": {"k": 1, "l": "m"}, "c": {"k": [1]}, "d": {"x": {"p": _POINT, "n": None}}},
        {"p": _POINT, "n": None},
    ),
    Call(
        "pair",
        {"one": _PAIR, "w": {"class_": "c", "from_": "f", "self": 2, "import_": True, "return_": ["r"]}},
        _PAIR,
    ),
    Call("literal", {"a": "x", "b": 2, "c": True, "d": None}, "done"),
    Call("nones", {"b": [None, None], "a": None}, [None, None]),
    Call("money", {"a": "1.10", "b": ["2.20"], "c": {"k": "0.10"}, "d": None}, {"k": "0.10"}),
    Call("ids", {"a": _KEY, "b": [_KEY], "c": "QQ==", "d": "PT1S"}, _KEY),
    Call("remove", {"id": 1, "object": {"k": [1]}}, {"id": 1}),
    Call("anything_of_two", {"a": [1], "b": [1, {"c": 2}]}, [1, {"c": 2}]),
    Call("anything_of_two", {"a": {"q": None}, "b": {"k": "v"}}, {"k": "v"}),
    Call("odd_schema", _RAW, _RAW),
    Call("odd_schema", {"class": "a", "one": "text", "multi": 5, "c": "k"}, {"class": "a", "one": "text", "multi": 5}),
]


def portal() -> HTTPPortal:
    """Return a portal with all of it. The caller closes it."""
    http = HTTPPortal()
    for one in (
        *(colours, grade, shapes, spots, groups, numbers, dates, tuples, maps, pair, literal, nones, money, ids),
        *(remove, anything_of_two, odd_schema),
    ):
        http.apply(one)
    return http
