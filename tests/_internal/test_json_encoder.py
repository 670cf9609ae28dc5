"""Large values are encoded in steps, and their text is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal._internal import json_encoder
from portal._internal.json_encoder import encode_json
from portal.errors import SerializationError

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=12), max_leaves=60
)


def expected(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_steps_give_the_same_text(value: Any) -> None:
    limits = (json_encoder._LONG_TEXT, json_encoder._LONG, json_encoder._STEP)
    json_encoder._LONG_TEXT, json_encoder._LONG, json_encoder._STEP = 3, 2, 2
    try:
        assert encode_json(value) == expected(value)
    finally:
        json_encoder._LONG_TEXT, json_encoder._LONG, json_encoder._STEP = limits


@pytest.mark.parametrize(
    "value",
    [
        'é"\\\n\x00' * 50_000,
        list(range(5000)),
        [{"a": 1, "b": "x"}] * 3000,
        {str(number): number for number in range(5000)},
        dict.fromkeys(range(2000)),
        {"result": ["x" * 100_000] * 3, "id": 1},
        ["x" * 100_000] + [1] * 2000,
        {"rows": [[1] * 2000] * 3},
        [[], {}, ""] * 1000,
    ],
    ids=["text", "numbers", "rows", "object", "numbers as names", "result", "mixed", "rows of rows", "empty"],
)
def test_large_values(value: Any) -> None:
    assert encode_json(value) == expected(value)


@pytest.mark.parametrize("value", [["\ud800"] * 2000, {"a": [float("nan")] * 2000}, [object()] * 2000])
def test_a_large_value_that_json_cannot_carry_is_rejected(value: Any) -> None:
    with pytest.raises(SerializationError):
        encode_json(value)
