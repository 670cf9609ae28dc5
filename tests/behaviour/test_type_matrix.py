"""What Python users write as type hints: each one works wherever it may stand, or is rejected when it is published.

Each annotation is a parameter, a result, a part of other types, and a parameter with a default. The function is called
with JSON data and with native values.
"""

# ruff: noqa: UP006, UP007, UP035, UP045 - older spellings are tested, too
from __future__ import annotations

import collections
import dataclasses
import enum
import sys
import typing
from collections import Counter, OrderedDict, abc, deque
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path, PurePosixPath
from types import FunctionType
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, Self, TypeVar, Union
from uuid import UUID

import pytest
import typing_extensions
from typing_extensions import NotRequired, ReadOnly, Required, TypeAliasType, TypedDict

from portal import ConfigError, Consumer, HTTPPortal, LocalPortal
from portal.schema import Ge, MaxLen, MinLen, Pattern

T = TypeVar("T")
D = typing_extensions.TypeVar("D", default=int)
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Right(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


class Bits(enum.IntFlag):
    ONE = 1
    EIGHT = 8


class Shape(enum.Enum):
    PAIR = (1, 2)


@dataclass
class Item:
    name: str
    price: Decimal = Decimal("1.50")
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@dataclass(frozen=True)
class Line:
    points: tuple[Point, ...]


@dataclass(slots=True, kw_only=True)
class Slotted:
    a: int


@dataclass
class Sum:
    parts: list[int]
    total: int = field(init=False)
    _cache: dict[str, int] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.total = sum(self.parts)


@dataclass
class Secret:
    name: str
    seed: InitVar[int]

    def __post_init__(self, seed: int) -> None:
        self.name += str(seed)


@dataclass(init=False)
class Odd:
    a: int

    def __init__(self, other: int) -> None:
        self.a = other


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class IntBox(Box[int]):
    pass


@dataclass
class DateBoxes(Box[Box[date]]):
    label: str = ""


@dataclass
class DefaultBox(Generic[D]):
    content: D


@dataclass
class Node:
    value: int
    next: Self | None = None
    others: list[Self] = field(default_factory=list)


@dataclass
class Tree:
    children: list[Tree] = field(default_factory=list)


@dataclass
class Own:
    self: int


class Pair(NamedTuple):
    a: int
    b: str = "b"


class GenericPair(NamedTuple, Generic[T]):
    a: T


Tabular = collections.namedtuple("Tabular", "x y")


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class TypingMovie(typing.TypedDict, total=False):
    title: typing.Required[str]
    when: date


class Locked(TypedDict):
    id: ReadOnly[int]
    note: ReadOnly[NotRequired[date]]
    tag: NotRequired[ReadOnly[str]]


class Holder(TypedDict, Generic[T]):
    held: T
    all: Required[list[T]]


class DateHolder(Holder[date]):
    label: str


class Plain:
    pass


Pairs = TypeAliasType("Pairs", tuple[T, T], type_params=(T,))
Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | int | str")
Endless = TypeAliasType("Endless", "list[Endless[list[T]]] | T", type_params=(T,))

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

#: Name -> (annotation, native value, JSON data).
WORKS: dict[str, tuple[Any, Any, Any]] = {
    "None": (None, None, None),
    "bool": (bool, True, True),
    "int": (int, 3, 3),
    "float": (float, 2.5, 2.5),
    "str": (str, "é", "é"),
    "bytes": (bytes, b"\x00\xff", "AP8="),
    "bytearray": (bytearray, bytearray(b"ab"), "YWI="),
    "Decimal": (Decimal, Decimal("1.10"), "1.10"),
    "Fraction": (Fraction, Fraction(1, 3), "1/3"),
    "UUID": (UUID, UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "datetime": (datetime, NOON, "2026-01-31T12:00:00+00:00"),
    "date": (date, date(2026, 1, 31), "2026-01-31"),
    "time": (time, time(9, 30), "09:30:00"),
    "timedelta": (timedelta, timedelta(days=1, seconds=90), "P1DT90S"),
    "Path": (Path, Path("a/b.txt"), str(Path("a/b.txt"))),
    "PurePosixPath": (PurePosixPath, PurePosixPath("/a"), "/a"),
    "IPv4Address": (IPv4Address, IPv4Address("10.0.0.1"), "10.0.0.1"),
    "IPv6Address": (IPv6Address, IPv6Address("::1"), "::1"),
    "IPv4Network": (IPv4Network, IPv4Network("10.0.0.0/8"), "10.0.0.0/8"),
    "IPv6Network": (IPv6Network, IPv6Network("fe80::/10"), "fe80::/10"),
    "IPv4Interface": (IPv4Interface, IPv4Interface("10.0.0.1/8"), "10.0.0.1/8"),
    "IPv4 | IPv6": (IPv4Address | IPv6Address, IPv6Address("::1"), "::1"),
    "Any": (Any, {"a": [1, None]}, {"a": [1, None]}),
    "object": (object, [1], [1]),
    "NewType": (UserId, 5, 5),
    "LiteralString": (typing_extensions.LiteralString, "a", "a"),
    "Optional[int]": (Optional[int], 4, 4),
    "int | None": (int | None, 4, 4),
    "Union[date, int]": (Union[date, int], date(2026, 1, 31), "2026-01-31"),
    "date | datetime": (date | datetime, NOON, "2026-01-31T12:00:00+00:00"),
    "Item | Point": (Item | Point, Point(1, 2), {"x": 1, "y": 2}),
    "Literal": (Literal["a", "b"], "b", "b"),
    "Literal[1, True]": (Literal[1, True], True, True),
    "Literal[Color.RED, 1, True]": (Literal[Color.RED, 1, True], True, True),
    "Literal[Color.RED]": (Literal[Color.RED], Color.RED, "red"),
    "Enum": (Color, Color.BLUE, "blue"),
    "IntEnum": (Level, Level.HIGH, 2),
    "StrEnum": (Word, Word.YES, "yes"),
    "Flag": (Right, Right.WRITE, 2),
    "Flag, composite": (Right, Right.READ | Right.WRITE, 3),
    "Flag, none set": (Right, Right(0), 0),
    "IntFlag": (Bits, Bits.ONE | Bits.EIGHT, 9),
    "Flag | None": (Right | None, Right.BOTH, 3),
    "list[int]": (list[int], [1, 2], [1, 2]),
    "List[int]": (typing.List[int], [1, 2], [1, 2]),
    "list": (list, [1, "a"], [1, "a"]),
    "tuple[int, str]": (tuple[int, str], (1, "a"), [1, "a"]),
    "tuple[int, ...]": (tuple[int, ...], (1, 2), [1, 2]),
    "tuple[()]": (tuple[()], (), []),
    "set[int]": (set[int], {1, 2}, [1, 2]),
    "frozenset[str]": (frozenset[str], frozenset("ab"), ["a", "b"]),
    "set[frozen dataclass]": (set[Point], {Point(2), Point(1)}, [{"x": 1, "y": 0}, {"x": 2, "y": 0}]),
    "set[tuple[Point, int]]": (set[tuple[Point, int]], {(Point(1), 2)}, [[{"x": 1, "y": 0}, 2]]),
    "set[frozen with a tuple]": (set[Line], {Line((Point(1),))}, [{"points": [{"x": 1, "y": 0}]}]),
    "deque[int]": (deque[int], deque([1, 2]), [1, 2]),
    "Sequence[int]": (abc.Sequence[int], [1, 2], [1, 2]),
    "MutableSequence[date]": (abc.MutableSequence[date], [date(2026, 1, 31)], ["2026-01-31"]),
    "Iterable[int]": (abc.Iterable[int], [1], [1]),
    "Collection[int]": (abc.Collection[int], [1], [1]),
    "Set[int]": (abc.Set[int], frozenset({1}), [1]),
    "dict[str, int]": (dict[str, int], {"a": 1}, {"a": 1}),
    "dict[int, str]": (dict[int, str], {-1: "a", 20: "b"}, {"-1": "a", "20": "b"}),
    "dict[Level, int]": (dict[Level, int], {Level.HIGH: 1}, {"2": 1}),
    "dict[Color, int]": (dict[Color, int], {Color.RED: 1}, {"red": 1}),
    "dict[UUID, int]": (dict[UUID, int], {UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
    "dict[date, Item]": (dict[date, Point], {date(2026, 1, 31): Point(1)}, {"2026-01-31": {"x": 1, "y": 0}}),
    "dict[Annotated[int, Ge(1)], int]": (dict[Annotated[int, Ge(1)], int], {1: 1}, {"1": 1}),
    "dict": (dict, {"a": [1]}, {"a": [1]}),
    "Mapping[str, date]": (abc.Mapping[str, date], {"a": date(2026, 1, 31)}, {"a": "2026-01-31"}),
    "OrderedDict[str, int]": (OrderedDict[str, int], OrderedDict(a=1), {"a": 1}),
    "Counter[str]": (Counter[str], Counter(a=2), {"a": 2}),
    "dataclass": (Item, Item("a", tags=["t"]), {"name": "a", "price": "1.50", "tags": ["t"]}),
    "dataclass, slots": (Slotted, Slotted(a=1), {"a": 1}),
    "dataclass, init=False": (Sum, Sum([1, 2]), {"parts": [1, 2], "total": 3}),
    "dataclass, field self": (Own, Own(1), {"self": 1}),
    "generic dataclass": (Box[date], Box(date(2026, 1, 31)), {"content": "2026-01-31", "more": []}),
    "generic base": (IntBox, IntBox(1, [2]), {"content": 1, "more": [2]}),
    "generic base of a generic": (
        DateBoxes,
        DateBoxes(Box(date(2026, 1, 31)), [], "x"),
        {"content": {"content": "2026-01-31", "more": []}, "more": [], "label": "x"},
    ),
    "default of a type variable": (DefaultBox, DefaultBox(1), {"content": 1}),
    "default replaced": (DefaultBox[str], DefaultBox("a"), {"content": "a"}),
    "Self": (Node, Node(1, Node(2)), {"value": 1, "next": {"value": 2, "next": None, "others": []}, "others": []}),
    "recursive dataclass": (Tree, Tree([Tree()]), {"children": [{"children": []}]}),
    "NamedTuple": (Pair, Pair(1), {"a": 1, "b": "b"}),
    "generic NamedTuple": (GenericPair[date], GenericPair(date(2026, 1, 31)), {"a": "2026-01-31"}),
    "namedtuple": (Tabular, Tabular(1, "a"), {"x": 1, "y": "a"}),
    "TypedDict": (Movie, {"title": "a"}, {"title": "a"}),
    "typing.TypedDict": (
        TypingMovie,
        {"title": "a", "when": date(2026, 1, 31)},
        {"title": "a", "when": "2026-01-31"},
    ),
    "ReadOnly": (Locked, {"id": 1, "note": date(2026, 1, 31)}, {"id": 1, "note": "2026-01-31"}),
    "generic TypedDict": (Holder[int], {"held": 1, "all": [2]}, {"held": 1, "all": [2]}),
    "TypedDict of a generic": (
        DateHolder,
        {"held": date(2026, 1, 31), "all": [], "label": "x"},
        {"held": "2026-01-31", "all": [], "label": "x"},
    ),
    "TypeAliasType": (Pairs[int], (1, 2), [1, 2]),
    "recursive TypeAliasType": (Json, {"a": [1, "b"]}, {"a": [1, "b"]}),
    "Annotated[int, Ge]": (Annotated[int, Ge(1)], 5, 5),
    "Annotated[str, Pattern]": (Annotated[str, MinLen(1), Pattern("^a")], "ab", "ab"),
    "Annotated[bytes, MaxLen]": (Annotated[bytes, MaxLen(2)], b"ab", "YWI="),
    "Annotated[Decimal, Ge]": (Annotated[Decimal, Ge(1)], Decimal("1.0"), "1.0"),
    "Annotated[date, Ge]": (Annotated[date, Ge(date(2026, 1, 1))], date(2026, 1, 31), "2026-01-31"),
    "Annotated[int, 'note']": (Annotated[int, "note"], 1, 1),
}

#: Name -> (annotation, part of the reason).
REJECTED: dict[str, tuple[Any, str]] = {
    "complex": (complex, "complex has no JSON Schema"),
    "Callable": (Callable[[int], int], "has no JSON Schema"),
    "type[int]": (type[int], "has no JSON Schema"),
    "class": (Plain, "Plain has no JSON Schema"),
    "function": (FunctionType, "has no JSON Schema"),
    "TypeVar": (T, "is a type variable"),
    "generic without arguments": (Box, "is a type variable"),
    "generic TypedDict without arguments": (Holder, "is a type variable"),
    "TypeAliasType without arguments": (Pairs, "is a type variable"),
    "endless alias": (Endless[int], "contains itself without end"),
    "Self outside a class": (Self, "inside a class"),
    "Never": (typing.Never, "has no JSON Schema"),
    "InitVar": (Secret, "is an InitVar"),
    "constructor of its own": (Odd, "cannot be made from its fields"),
    "Enum of tuples": (Shape, "must be a string, number, boolean or None"),
    "Literal of bytes": (Literal[b"a"], "JSON scalar"),
    "set of lists": (set[list[int]], "must be hashable"),
    "set of dataclasses": (set[Item], "must be hashable"),
    "set of frozen with a list": (frozenset[tuple[Item, int]], "must be hashable"),
    "dict[float, int]": (dict[float, int], "keys must be strings or integers"),
    "dict[Point, int]": (dict[Point, int], "keys must be strings or integers"),
    "Annotated[int, MinLen]": (Annotated[int, MinLen(1)], "does not apply"),
    "Annotated[UUID, MaxLen]": (Annotated[UUID, MaxLen(1)], "does not apply"),
    "Annotated[date, Ge(1)]": (Annotated[date, Ge(1)], "needs a limit of the class date"),
    "Annotated[datetime, Ge(naive)]": (Annotated[datetime, Ge(datetime(2026, 1, 1))], "needs a time zone"),
    "Annotated[str, Pattern('(')]": (Annotated[str, Pattern("(")], "valid"),
    "Iterator[int]": (abc.Iterator[int], "yield the items for a stream"),
    "Generator": (abc.Generator[int, None, None], "yield the items for a stream"),
    "defaultdict": (collections.defaultdict[str, int], "has no JSON Schema"),
    "string": ("Nowhere", "cannot be resolved"),
}

PLACES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "itself": (lambda hint: hint, lambda value: value),
    "list": (lambda hint: list[hint], lambda value: [value]),
    "optional": (lambda hint: Optional[hint], lambda value: value),
    "dict": (lambda hint: dict[str, hint], lambda value: {"k": value}),
    "tuple": (lambda hint: tuple[int, hint], lambda value: [1, value]),
    "dataclass": (lambda hint: dataclasses.make_dataclass("Nested", [("part", hint)]), lambda value: {"part": value}),
}


def native_in(place: str, hint: Any, value: Any) -> Any:
    """Return a native value inside a native container."""
    if place == "dataclass":
        return hint(value)
    found = PLACES[place][1](value)
    return tuple(found) if place == "tuple" else found


def taking(hint: Any) -> Any:
    def take(value: Any) -> Any:
        taken.append(value)

    taken: list[Any] = []
    take.__annotations__ = {"value": hint, "return": None}
    take.taken = taken  # type: ignore[attr-defined]
    return take


def giving(hint: Any, value: Any) -> Any:
    def give() -> Any:
        return value

    give.__annotations__ = {"return": hint}
    return give


def defaulting(hint: Any, default: Any) -> Any:
    def fall_back(value: Any = default) -> Any:
        return value

    fall_back.__annotations__ = {"value": hint, "return": hint}
    return fall_back


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WORKS)
def test_a_hint_that_is_published_works(name: str, place: str) -> None:
    written, value, plain = WORKS[name]
    hint = PLACES[place][0](written)
    native, data = native_in(place, hint, value), PLACES[place][1](plain)
    take = taking(hint)
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        address = portal.apply(take)
        consumer.call_at(address, {"value": data})
        consumer.resolve(address)(value=native)
        assert [(type(found), found) for found in take.taken] == [(type(native), native)] * 2
        address = portal.apply(giving(hint, native))
        assert consumer.call_at(address) == data
        assert consumer.resolve(address)() == data
        found = consumer.resolve(address, returns=hint)()
        assert (type(found), found) == (type(native), native)
        address = portal.apply(defaulting(hint, native))
        assert consumer.call_at(address) == consumer.call_at(address, {"value": data}) == data
        assert consumer.resolve(address, returns=hint)() == native


@pytest.mark.parametrize("name", WORKS)
def test_a_native_value_is_sent_by_a_client_that_knows_the_json_schema_only(name: str, http: HTTPPortal) -> None:
    written, value, _ = WORKS[name]
    for place in ("itself", "list", "dict", "dataclass"):
        hint = PLACES[place][0](written)
        take, native = taking(hint), native_in(place, hint, value)
        address = http.apply(take)
        try:
            with Consumer() as consumer:
                consumer.resolve(address)(value=native)
        finally:
            http.remove(address)
        assert [(type(found), found) for found in take.taken] == [(type(native), native)]


@pytest.fixture(scope="module")
def http() -> Iterator[HTTPPortal]:
    with HTTPPortal() as portal:
        yield portal


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", REJECTED)
def test_a_hint_that_cannot_be_kept_is_rejected_when_it_is_published(name: str, place: str) -> None:
    written, reason = REJECTED[name]
    if name == "string" and place != "itself":
        pytest.skip("a string inside another hint is a forward reference of that hint")
    if name in ("Self outside a class", "Never") and place == "dataclass":
        pytest.skip("a dataclass gives Self a meaning")
    hint = PLACES[place][0](written)
    with LocalPortal() as portal:
        for target in (taking(hint), giving(hint, None), defaulting(hint, None)):
            with pytest.raises(ConfigError, match=reason) as caught:
                portal.apply(target)
            assert caught.value.message
        assert portal.functions() == {} or not portal.functions()


RETURNED: dict[str, tuple[Any, Callable[[], Any], Any]] = {
    "Sequence, range": (abc.Sequence[int], lambda: range(3), [0, 1, 2]),
    "Sequence, deque": (abc.Sequence[int], lambda: deque([1]), [1]),
    "Sequence, set": (abc.Sequence[int], lambda: {2, 1}, [1, 2]),
    "Sequence, keys": (abc.Sequence[str], {"b": 1, "a": 2}.keys, ["b", "a"]),
    "Sequence, values": (abc.Sequence[int], {"b": 1}.values, [1]),
    "Collection, items": (abc.Collection[tuple[str, int]], {"b": 1}.items, [["b", 1]]),
    "Iterable, map": (abc.Iterable[float], lambda: map(float, [1]), [1.0]),
    "Iterable, generator": (abc.Iterable[date], lambda: (NOON.date() for _ in range(1)), ["2026-01-31"]),
    "Sequence | None": (abc.Sequence[int] | None, lambda: range(1), [0]),
    "Set, keys": (abc.Set[str], {"b": 1}.keys, ["b"]),
    "Mapping, Counter": (abc.Mapping[str, int], lambda: Counter("aab"), {"a": 2, "b": 1}),
    "Flag, complement": (Right, lambda: ~Right.READ, 2),
    "IntFlag, complement": (Bits, lambda: ~Bits.ONE, int(~Bits.ONE) & 15),
}


@pytest.mark.parametrize("name", RETURNED)
def test_a_result_of_an_abstract_class_may_be_any_of_its_classes(name: str) -> None:
    hint, make, data = RETURNED[name]

    def give() -> Any:
        return make()

    give.__annotations__ = {"return": hint}
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        assert consumer.call_at(portal.apply(give)) == data


def test_the_version_is_one_that_the_matrix_is_for() -> None:
    assert sys.version_info >= (3, 11)
    assert len(WORKS) + len(REJECTED) >= 120
