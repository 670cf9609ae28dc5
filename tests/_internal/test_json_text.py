from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import SerializationError
from portal._internal.json_text import decode_json, encode_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(SCALARS | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


@given(VALUES)
def test_a_value_survives(value: Any) -> None:
    assert decode_json(encode_json(value)) == value


@given(VALUES)
def test_the_text_is_that_of_the_json_module(value: Any) -> None:
    assert encode_json(value).decode() == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def test_white_space_around_a_value_is_accepted() -> None:
    assert decode_json(b' \n{"a": [1, 2]}\t ') == {"a": [1, 2]}


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"{", b"1 2", b'{"a":1}x', b"NaN", b"-Infinity", b"[Infinity]", b"\xff", b"'a'", b"9" * 5_000],
)
def test_text_that_is_not_json_is_rejected(text: bytes) -> None:
    with pytest.raises(SerializationError, match="the text must be JSON: "):
        decode_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"bytes", {(1, 2): 3}, "\ud800"])
def test_a_value_that_is_not_json_data_is_rejected(value: Any) -> None:
    with pytest.raises(SerializationError, match="the value must be JSON data: "):
        encode_json(value)


def test_deep_nesting_is_rejected() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SerializationError, match="nested too deeply"):
        encode_json(value)
    with pytest.raises(SerializationError, match="nested too deeply"):
        decode_json(b"[" * 100_000 + b"]" * 100_000)
    while value:  # freed level by level
        value = value.pop()
