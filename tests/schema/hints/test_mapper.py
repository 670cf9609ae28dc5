"""Type hints: their JSON Schema, and native values converted both ways."""

# ruff: noqa: UP045 - Optional[X] is tested, too
from __future__ import annotations

import collections.abc as abc
import enum
import typing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import ConfigError, ValidationError
from portal.schema import Schema
from portal.schema.constraints import Ge, Pattern

T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Text(str):
    pass


@dataclass
class Item:
    name: str
    price: Decimal
    count: int = 1
    tags: list[str] = field(default_factory=list)
    made: int = field(default=0, init=False)


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)
    parent: Optional[Tree] = None


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T]


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Partial(TypedDict, total=False):
    when: Required[date]
    note: str


@dataclass
class Counted:
    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("too few")


ROUND_TRIPS: list[tuple[Any, Any, Any]] = [
    (None, None, None),
    (bool, True, True),
    (int, 3, 3),
    (float, 2.5, 2.5),
    (str, "é", "é"),
    (Any, {"a": [1, None]}, {"a": [1, None]}),
    (object, [1], [1]),
    (Optional[int], None, None),
    (int | None, 4, 4),
    (int | str, "a", "a"),
    (int | float, 1.0, 1.0),
    (list[int] | list[str], ["a"], ["a"]),
    (date | datetime, datetime(2024, 1, 31, 9, tzinfo=UTC), "2024-01-31T09:00:00+00:00"),
    (date | datetime, date(2024, 1, 31), "2024-01-31"),
    (Item | Point, Point(1.0, 2.0), {"x": 1.0, "y": 2.0}),
    (Optional[Colour], Colour.RED, "red"),
    (Literal["a", 1, True, None], True, True),
    (Literal[Colour.RED], Colour.RED, "red"),
    (Colour, Colour.BLUE, "blue"),
    (Level, Level.HIGH, 2),
    (list[float], [1.5], [1.5]),
    (abc.Sequence[date], [date(2024, 1, 31)], ["2024-01-31"]),
    (list, [1, "a"], [1, "a"]),
    (tuple, (1, "a"), [1, "a"]),
    (tuple[()], (), []),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (tuple[Decimal, ...], (Decimal("1.5"),), ["1.5"]),
    (set[int], {3, 1}, [1, 3]),
    (set[str], {"b", "a"}, ["a", "b"]),
    (frozenset[Colour], frozenset({Colour.RED}), ["red"]),
    (set[int | None], {None}, [None]),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict, {"a": [1]}, {"a": [1]}),
    (abc.Mapping[Colour, date], {Colour.RED: date(2024, 1, 31)}, {"red": "2024-01-31"}),
    (dict[UUID, int], {UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
    (dict[Literal["a"], int], {"a": 1}, {"a": 1}),
    (datetime, datetime(2024, 1, 31, 9, 5, 1, 20, tzinfo=UTC), "2024-01-31T09:05:01.000020+00:00"),
    (date, date(2024, 1, 31), "2024-01-31"),
    (time, time(9, 30), "09:30:00"),
    (timedelta, timedelta(days=1, seconds=90), "P1DT90S"),
    (Decimal, Decimal("1.10"), "1.10"),
    (UUID, UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (bytes, b"\x00\xff", "AP8="),
    (UserId, 5, 5),
    (Annotated[int, Ge(1), "a note"], 5, 5),
    (Item, Item("a", Decimal("1.5")), {"name": "a", "price": "1.5", "count": 1, "tags": [], "made": 0}),
    (
        Tree,
        Tree(1, [Tree(2)]),
        {"value": 1, "children": [{"value": 2, "children": [], "parent": None}], "parent": None},
    ),
    (list[Tree], [Tree(1)], [{"value": 1, "children": [], "parent": None}]),
    (Box[date], Box(date(2024, 1, 31), []), {"content": "2024-01-31", "more": []}),
    (Point, Point(1.5), {"x": 1.5, "y": 0.0}),
    (Movie, {"title": "a"}, {"title": "a"}),
    (Partial, {"when": date(2024, 1, 31), "note": "x"}, {"when": "2024-01-31", "note": "x"}),
]


@pytest.mark.parametrize(("hint", "native", "data"), ROUND_TRIPS)
def test_round_trip(hint: Any, native: Any, data: Any) -> None:
    schema = Schema.of(hint)
    dumped = schema.dump(native)
    assert dumped == data
    assert type(dumped) is type(data)
    loaded = schema.load(data)
    assert loaded == native
    assert type(loaded) is type(native)


REJECTED: list[tuple[Any, Any]] = [
    (int, "3"),
    (int, True),
    (int, 1.5),
    (float, True),
    (float, "1"),
    (str, 1),
    (bool, 1),
    (None, 0),
    (list[int], {"a": 1}),
    (tuple[int, str], [1]),
    (tuple[int, str], [1, "a", 2]),
    (set[int], [1, 1]),
    (Colour, "green"),
    (Literal[1], 2),
    (Literal[1], True),
    (date, "2024-02-30"),
    (date, "20240131"),
    (datetime, "2024-01-31T09:00:00"),
    (datetime, "2024-01-31"),
    (time, "9:30"),
    (timedelta, "P1Y"),
    (timedelta, "P"),
    (timedelta, "PT"),
    (timedelta, "P999999999999D"),
    (Decimal, "NaN"),
    (Decimal, 1),
    (UUID, "x"),
    (Item, {"name": "a"}),
    (Item, {"name": "a", "price": "1", "x": 1}),
    (Movie, {}),
    (Partial, {"note": "x"}),
    (Tree, {"value": 1, "children": [{"value": "a"}]}),
    (Annotated[int, Ge(1)], 0),
    (Any, float("nan")),
    (dict[Colour, int], {"x": 1}),
]


@pytest.mark.parametrize(("hint", "data"), REJECTED)
def test_load_coerces_nothing(hint: Any, data: Any) -> None:
    schema = Schema.of(hint)
    assert schema.accepts(data) is False
    with pytest.raises(ValidationError) as caught:
        schema.load(data)
    assert caught.value.errors


NOT_DUMPED: list[tuple[Any, Any]] = [
    (int, "3"),
    (int, Decimal(1)),
    (float, Decimal(1)),
    (float, True),
    (int | float, Decimal(1)),
    (str, b"a"),
    (date, datetime.now(UTC)),
    (date, "2024-01-31"),
    (datetime, datetime(2024, 1, 31)),
    (bytes, "AP8="),
    (UUID, "x"),
    (Colour, "red"),
    (Colour, Level.LOW),
    (Literal[Colour.RED], Colour.BLUE),
    (list[int], 1),
    (set[int], [1]),
    (tuple[int, str], (1,)),
    (dict[str, int], [1]),
    (dict[str, int], {1: 1}),
    (Item, Point(1.0)),
    (Movie, 5),
    (Any, object()),
    (Decimal, Decimal("inf")),
]


@pytest.mark.parametrize(("hint", "native"), NOT_DUMPED)
def test_dump_coerces_nothing(hint: Any, native: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Schema.of(hint).dump(native)
    assert caught.value.errors


def test_an_integer_key_obeys_its_constraints_on_both_ways() -> None:
    schema = Schema.of(dict[Annotated[int, Ge(1)], str])
    for action in (lambda: schema.load({"0": "a"}), lambda: schema.dump({0: "a"})):
        with pytest.raises(ValidationError) as caught:
            action()
        assert ("/0", "propertyNames") in [(fault.path, fault.rule) for fault in caught.value.errors]


@pytest.mark.parametrize(
    ("hint", "data"),
    [
        (dict[int, int], {"01": 1}),
        (dict[int, int], {"-0": 1}),
        (dict[int, int], {"1.0": 1}),
        (dict[int, int], {"1": 1, "+1": 2}),
        (dict[int, int], {"9" * 5_000: 1}),
        (dict[UUID, int], {"0" * 7 + "a" + str(UUID(int=1))[8:]: 1, "0" * 7 + "A" + str(UUID(int=1))[8:]: 2}),
        (set[Decimal], ["1.0", "1.00"]),
        (set[int | bool], [1, True]),
    ],
)
def test_what_is_equal_in_python_only_is_rejected_and_not_dropped(hint: Any, data: Any) -> None:
    with pytest.raises(ValidationError):
        Schema.of(hint).load(data)


def test_numbers_take_the_type_of_the_hint() -> None:
    assert repr(Schema.of(int).load(1.0)) == "1"
    assert repr(Schema.of(float).load(1)) == "1.0"
    assert repr(Schema.of(float).dump(1)) == "1.0"
    assert repr(Schema.of(int).dump(Level.HIGH)) == "2"
    assert type(Schema.of(str).dump(Text("a"))) is str


def test_containers_are_copied() -> None:
    for hint in (list[str], list[Any], dict[str, str], Any):
        data: Any = {"a": "b"} if hint == dict[str, str] else ["a"]
        schema = Schema.of(hint)
        assert schema.load(data) is not data
        assert schema.dump(data) is not data


NOT_DECODED: list[tuple[Any, Any, str]] = [
    (list[float], [1.0, 10**400], "/1"),
    (dict[str, Counted], {"a": {"count": -1}}, "/a"),
    (tuple[int, bytes], [1, "A"], "/1"),
    (Tree | bytes, "A", ""),
    (Optional[list[bytes]], ["A"], "/0"),
    (list[int] | list[bytes], ["A"], "/0"),
    (Box[bytes], {"content": "AP8=", "more": ["A"]}, "/more/0"),
    (datetime, "2024-01-31T23:59:60Z", ""),
    (datetime, "2024-01-31T24:00:00Z", ""),  # `fromisoformat` accepts it from CPython 3.14 on
    (time, "24:00:00", ""),
]


@pytest.mark.parametrize(("hint", "data", "path"), NOT_DECODED)
def test_a_value_that_fits_and_cannot_be_decoded_is_named_with_its_path(hint: Any, data: Any, path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Schema.of(hint).load(data)
    assert [fault.path for fault in caught.value.errors] == [path]


NOT_MAPPED: list[tuple[Any, str]] = [
    (abc.Callable[[], int], "Callable"),
    (T, "type hint ~T is a type variable"),
    (complex, "complex"),
    (list[complex], "complex"),
    (dict[float, str], "keys must be strings or integers"),
    ("Nowhere", "Nowhere"),
    (Literal[b"a"], "Literal"),
    (Annotated[str, Pattern("(")], "not a valid"),
]


@pytest.mark.parametrize(("hint", "word"), NOT_MAPPED)
def test_a_hint_without_json_schema_is_named(hint: Any, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Schema.of(hint)


def test_a_field_without_json_schema_is_named() -> None:
    @dataclass
    class WrongField:
        inner: "complex"  # noqa: UP037

    @dataclass
    class UnknownField:
        inner: "Absent"  # type: ignore[name-defined] # noqa: F821, UP037

    class PairEnum(enum.Enum):
        A = (1, 2)

    with pytest.raises(ConfigError, match=r"WrongField\.inner"):
        Schema.of(WrongField)
    with pytest.raises(ConfigError, match="Absent"):
        Schema.of(UnknownField)
    with pytest.raises(ConfigError, match="PairEnum"):
        Schema.of(PairEnum)


def test_an_optional_scalar_has_two_types_in_one_schema() -> None:
    assert Schema.of(Optional[date]).json == {"type": ["string", "null"], "format": "date"}
    assert Schema.of(Optional[Colour]).json == {
        "anyOf": [
            {"title": "Colour", "type": "string", "enum": ["red", "blue"], "x-enum-varnames": ["RED", "BLUE"]},
            {"type": "null"},
        ]
    }


def test_a_recursive_class_is_written_once() -> None:
    json = Schema.of(dict[str, Tree]).json
    assert json["additionalProperties"] == {"$ref": "#/$defs/Tree"}
    assert list(json["$defs"]) == ["Tree"]
    assert "$defs" not in Schema.of(Item).json


def test_defaults_are_written_where_they_are_json() -> None:
    properties = Schema.of(Item).json["properties"]
    assert properties["count"]["default"] == 1
    assert "default" not in properties["tags"]  # of a factory, which runs for each value
    assert "default" not in properties["name"]
    assert Schema.of(Item).json["required"] == ["name", "price"]


def test_aliases_of_typing_are_the_builtins() -> None:
    assert Schema.of(typing.List[int]).json == Schema.of(list[int]).json  # noqa: UP006
    assert Schema.of(typing.Dict[str, int]).json == Schema.of(dict[str, int]).json  # noqa: UP006


@given(
    st.decimals(allow_nan=False, allow_infinity=False), st.datetimes(timezones=st.just(UTC)), st.times(), st.binary()
)
def test_formatted_values_come_back_exactly(number: Decimal, moment: datetime, clock: time, raw: bytes) -> None:
    for hint, native in ((Decimal, number), (datetime, moment), (time, clock), (bytes, raw)):
        schema = Schema.of(hint)
        assert schema.load(schema.dump(native)) == native
