"""to_builtins: instances of classes as dicts and scalars."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any, NamedTuple

from portal.schema import to_builtins


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    colour: Colour


@dataclass
class Line:
    ends: list[Point]
    when: date
    length: int = field(default=0, init=False)


def test_classes_become_dicts_and_members_their_values() -> None:
    line = Line([Point(1, Colour.RED)], date(2026, 1, 31))
    assert to_builtins({"line": line}) == {
        "line": {"ends": [{"x": 1, "colour": "red"}], "when": date(2026, 1, 31)},
    }


def test_tuples_and_sets_become_lists_and_members_keys() -> None:
    assert to_builtins((Point(1, Colour.RED),)) == [{"x": 1, "colour": "red"}]
    assert to_builtins({3, 1}) == [1, 3]
    assert sorted(to_builtins(frozenset({None, Colour.RED})), key=str) == [None, "red"]
    assert to_builtins({Colour.RED: 1, "a": 2, (1,): 3}) == {"red": 1, "a": 2, (1,): 3}


def test_other_sequences_and_mappings_become_lists_and_dicts() -> None:
    assert to_builtins(deque([Colour.RED])) == ["red"]
    assert to_builtins(range(2)) == [0, 1]
    assert to_builtins({"a": 1}.keys()) == ["a"]
    assert to_builtins(OrderedDict(a=(1,))) == {"a": [1]}
    assert to_builtins(Counter("aab")) == {"a": 2, "b": 1}
    assert to_builtins({1: {-2: Colour.RED}}) == {"1": {"-2": "red"}}
    assert to_builtins("text") == "text"


def test_other_values_are_unchanged() -> None:
    value = bytearray(b"x")
    assert to_builtins(value) is value


def test_what_is_nested_too_deep_is_unchanged() -> None:
    value: list[Any] = [Colour.RED]
    assert to_builtins([value], depth=1) == [value]
    cycle: list[Any] = []
    cycle.append(cycle)
    assert isinstance(to_builtins(cycle), list)
