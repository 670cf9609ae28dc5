"""JSON data: tests of it, copies of it, and the faults of other values."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from portal.schema.jsondata import copy_json, is_json, json_faults, pointer, shorten, too_deep

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass
class Order:
    n: int


class Pair(NamedTuple):
    n: int


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("not printable")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_64_is_the_limit() -> None:
    assert is_json(nested(64))
    assert not is_json(nested(65))
    assert json_faults(nested(65))[0].path == "/0" * 64


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ([float("nan")], "/0", "must be a finite number, got nan"),
        ({"a": {1: 2}}, "/a", "must have strings that UTF-8 can encode as member names, got 1"),
        ({"a/b": "\ud800"}, "/a~1b", "must not contain a lone surrogate, which UTF-8 cannot encode"),
        (b"x", "", "must be JSON data, got bytes; convert it with Schema.of(bytes).dump(value)"),
        ({1}, "", "must be JSON data, got set; pass a list"),
        ([(1, 2)], "/0", "must be JSON data, got tuple; pass a list"),
        (OrderedDict(a=1), "", "must be JSON data, got OrderedDict; pass a dict"),
        (Order(1), "", "must be JSON data, got Order; convert it with Schema.of(Order).dump(value)"),
        ([Pair(1)], "/0", "must be JSON data, got Pair; convert it with Schema.of(Pair).dump(value)"),
        (Path("a"), "", "must be JSON data, got PosixPath; convert it with Schema.of(Path).dump(value)"),
        (NOON, "", "must be JSON data, got datetime; convert it with Schema.of(datetime).dump(value)"),
        (1j, "", "must be JSON data, got complex"),
        (Decimal(1), "", "must be JSON data, got Decimal; convert it with Schema.of(Decimal).dump(value)"),
        (nested(65), "/0" * 64, "must not be nested more than 64 levels deep"),
    ],
)
def test_a_fault_says_what_the_value_must_be(value: Any, path: str, message: str) -> None:
    assert [(fault.path, fault.message) for fault in json_faults(value)] == [(path, message)]


def test_values_are_shortened_for_messages() -> None:
    assert shorten(10**1000) == "<integer of 3322 bits>"
    assert len(shorten({"k" * 50: ["v" * 500] * 100})) <= 80
    assert shorten(nested(9)) == "[[[[[...]]]]]"
    assert shorten(Unprintable()) == "<Unprintable>"
    assert shorten("\ud800").isascii()


def test_copies_share_no_container() -> None:
    value = {"a": [1, {"b": (2,)}]}
    copied = copy_json(value)
    assert copied == {"a": [1, {"b": [2]}]}
    assert copied["a"] is not value["a"]


def test_pointers_are_escaped() -> None:
    assert pointer(("a/b", 0, "~")) == "/a~1b/0/~0"


def test_too_deep() -> None:
    value: list[object] = []
    for _ in range(63):
        value = [value]
    assert not too_deep(value)
    assert too_deep([value])
    assert too_deep({"a": value})
    assert not too_deep("a")
