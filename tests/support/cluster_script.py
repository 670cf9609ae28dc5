"""A script with functions and classes in `__main__`. `python cluster_script.py HOST:PORT` prints what calls return."""

from __future__ import annotations

import enum
import json
import sys
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

from portal import Consumer, function, service

T = TypeVar("T")
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntFlag):
    LOW = 1
    HIGH = 2


@dataclass
class Part:
    name: str
    weight: float = 1.0
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Item:
    part: Part
    _: KW_ONLY
    color: Color = Color.RED
    parts: list[Part] = field(default_factory=list)
    after: Item | None = None


@dataclass
class Box(Generic[T]):
    content: T


class Point(NamedTuple):
    x: int
    y: int = 5


class Row(TypedDict, total=False):
    color: Color


class WideRow(Row):
    part: NotRequired[Part]


@function
def grow(item: Item) -> Item:
    assert isinstance(item.part, Part)
    assert item.color is Color.RED
    return Item(part=Part(item.part.name + "!"), after=item)


@function
def paint(color: Color, level: Level) -> tuple[Color, Level]:
    assert color is Color.RED
    return Color.BLUE, level | Level.HIGH


@function
def move(point: Point) -> Point:
    return Point(point.x + 1)


@function
def row(row: WideRow) -> Row:
    assert row["color"] is Color.RED
    return {"color": Color(row["part"].name)}


@function
def unpack(box: Box[Part], user: UserId) -> UserId:
    return UserId(user + len(box.content.name))


@function
def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


@service
class Shop:
    def __init__(self) -> None:
        self.prefix = "p"

    @function
    def pack(self, part: Part) -> Part:
        return Part(self.prefix + part.name, weight=factorial(3))


PART = {"name": "blue"}
CALLS = [
    (grow, {"item": {"part": PART}}),
    (paint, {"color": "red", "level": 1}),
    (move, {"point": {"x": 1}}),
    (row, {"row": {"color": "red", "part": PART}}),
    (unpack, {"box": {"content": PART}, "user": 1}),
    (factorial, {"n": 5}),
]


def main(scheduler: str) -> None:
    from portal.cluster import DaskPortal

    with DaskPortal(scheduler) as portal, Consumer(timeout=120.0) as consumer:
        found = [consumer.call_at(portal.apply(made), params) for made, params in CALLS]
        found.append(consumer.call_at(f"{portal.apply_service(Shop())}/pack", {"part": PART}))
    assert Item(Part("x")) == Item(Part("x")), "publishing must not change the classes"
    assert Part("x").weight == 1.0
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
