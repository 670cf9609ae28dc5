from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import ProtocolError, SerializationError
from portal._internal.json_encoder import encode_error_json, encode_json
from portal._internal.json_text import BodyDecoder, count_containers, decode_finite_json, decode_json

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


@pytest.mark.parametrize("text", [b"1e999", b'{"a": [-1e400]}', b"1" * 400 + b".5", b"[1E+309]", b" 2e308"])
def test_a_number_beyond_the_range_of_floats_is_rejected_where_nothing_validates_it(text: bytes) -> None:
    with pytest.raises(SerializationError, match=r"the text must be JSON: .*is beyond the range of numbers"):
        decode_finite_json(text)
    assert "inf" in repr(decode_json(text))


@pytest.mark.parametrize("text", [b"1e308", b"-1.7976931348623157e308", b"1e-999", b"[0.5, 10, 1E2]", b'"1e999"'])
def test_numbers_in_range_are_decoded_alike(text: bytes) -> None:
    assert decode_finite_json(text) == decode_json(text) == json.loads(text)


NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.sampled_from(["1", "17", "9" * 199, "9" * 200, "9" * 201, "9" * 308, "1" + "0" * 309]),
    st.sampled_from(["", ".5", "." + "9" * 300]),
    st.sampled_from(["", "e99", "E+99", "e100", "E+109", "e0308", "e+309", "e-400", "e-099"]),
)


@given(st.lists(NUMBERS, min_size=1, max_size=3))
def test_every_number_beyond_the_range_of_floats_is_found(numbers: list[str]) -> None:
    text = f"[{','.join(numbers)}]"
    value = json.loads(text)
    if all(math.isfinite(one) for one in value if isinstance(one, float)):
        assert decode_finite_json(text) == value
        return
    with pytest.raises(SerializationError, match="is beyond the range of numbers"):
        decode_finite_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"bytes", {(1, 2): 3}, "\ud800"])
def test_a_value_that_is_not_json_data_is_rejected(value: Any) -> None:
    with pytest.raises(SerializationError, match="the value must be JSON data: "):
        encode_json(value)


def test_lone_surrogates_in_an_error_become_escapes() -> None:
    data = {"\ud800": ["a\udfff", ("é", 1)], "b": {"c": None}}
    assert decode_json(encode_error_json(data)) == {"\\ud800": ["a\\udfff", ["é", 1]], "b": {"c": None}}
    with pytest.raises(SerializationError):
        encode_error_json({"a": object()})


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


def test_brackets_in_strings_are_not_containers() -> None:
    text = rb'["[[[[", "{\"[[", "\\", {"[{": []}]'
    assert count_containers(text, 2) == 3
    assert decode_json(text) == ["[[[[", '{"[[', "\\", {"[{": []}]


def test_containers_are_counted_in_text_that_is_not_json() -> None:
    assert count_containers(b'[["[[', 0) == 2  # the string has no end
    assert count_containers(b"[[\xff\x00", 0) == 2
    assert count_containers(b"[" + b'"' + b"\\" * 1_000_001, 0) == 1
    assert count_containers(b'["' + b'\\"' * 500_000, 0) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * 299_999 + b"[]]",
        b"[" + b"{}," * 299_999 + b"{}]",
        b'{"a":' + b"[" + b'{"":[]},' * 149_999 + b"[]]}",
        b"[" * 500_000,
        b'["\\"",' + b"[[],{}]," * 120_000 + b'"["]',
    ],
    ids=["arrays", "objects", "members", "unfinished", "with strings"],
)
def test_too_many_containers_are_rejected_before_they_are_made(text: bytes) -> None:
    decoder = BodyDecoder()
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="at most 100,000 objects and arrays, got") as caught:
            decoder.decode(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.status == 413
    assert decoder.rejected.value == 1
    assert peak < 100_000


def test_as_many_containers_as_allowed_are_decoded() -> None:
    decoder = BodyDecoder(3)
    assert decoder.decode(b'[[], {"a": "[[[["}]') == [[], {"a": "[[[["}]
    with pytest.raises(ProtocolError, match="at most 3 objects and arrays, got 4"):
        decoder.decode(b"[[], [], []]")
    assert decoder.rejected.value == 1


@given(VALUES, st.integers(1, 5))
def test_the_decoder_counts_what_it_decodes(value: Any, limit: int) -> None:
    def containers(part: Any) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else None
        return 0 if inner is None else 1 + sum(map(containers, inner))

    decoder, text = BodyDecoder(limit), encode_json(value)
    if containers(value) > limit:
        with pytest.raises(ProtocolError, match=f"got {containers(value)}"):
            decoder.decode(text)
    else:
        assert decoder.decode(text) == value
