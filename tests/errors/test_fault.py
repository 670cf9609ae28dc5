from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import Fault
from portal.errors.fault import MAX_FAULTS, faults_of, limit_faults, shorten

FAULT = Fault("/items/0/price", "must be a number", "type", "number", "'3'")


def test_a_fault_survives_json() -> None:
    assert Fault.from_dict(FAULT.to_dict()) == FAULT
    assert FAULT.to_dict() == {
        "path": "/items/0/price",
        "message": "must be a number",
        "rule": "type",
        "expected": "number",
        "value": "'3'",
    }


def test_absent_members_are_empty_and_others_become_text() -> None:
    assert Fault.from_dict({}) == Fault("", "", "")
    assert Fault.from_dict({"path": 7, "expected": [1]}) == Fault("7", "", "", [1])


@pytest.mark.parametrize(
    ("rows", "faults"),
    [
        ([FAULT, FAULT.to_dict()], (FAULT, FAULT)),
        ([FAULT.to_dict(), "text", 7, None], (FAULT,)),
        ("text", ()),
        (FAULT.to_dict(), ()),
        (None, ()),
        (7, ()),
    ],
)
def test_faults_of_a_peer(rows: Any, faults: tuple[Fault, ...]) -> None:
    assert faults_of(rows) == faults


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "'abc'"),
        (b"abc", "b'abc'"),
        ([1, {"a": None}], "[1, {'a': None}]"),
        ([[[[[1]]]]], "[[[[[...]]]]]"),
        ({"a": {"b": {"c": {"d": {}}}}}, "{'a': {'b': {'c': {'d': {...}}}}}"),
        (1 << 5_000, "<integer of 5001 bits>"),
        (Unprintable(), "<Unprintable>"),
        ([Unprintable()], "<list>"),
        ("\ud800", "'\\ud800'"),
        ("x" * 100, f"'{'x' * 76}..."),
    ],
)
def test_shorten(value: Any, text: str) -> None:
    assert shorten(value) == text


@given(st.recursive(st.text() | st.integers() | st.binary(), st.lists), st.integers(10, 100))
def test_short_text_keeps_the_limit_and_is_utf_8(value: Any, limit: int) -> None:
    text = shorten(value, limit)
    assert len(text) <= limit
    text.encode()


def test_a_large_list_is_read_up_to_the_limit() -> None:
    class Item:
        shown = 0

        def __repr__(self) -> str:
            Item.shown += 1
            return "item"

    assert shorten([Item()] * 1_000_000, 60).endswith("...")
    assert Item.shown < 20


def test_more_faults_than_the_limit_are_replaced_by_one() -> None:
    faults = limit_faults(Fault("/a", "b", "c") for _ in range(MAX_FAULTS + 5))
    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1].message == "there are more faults; only the first 1000 are listed"
