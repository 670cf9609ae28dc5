"""FlatObject agrees with the general way: what it converts is valid, and has the same value."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.javascript import EngineError
from portal.javascript.flat import FlatObject
from portal.javascript.json_text import decode_result, encode_parameters
from portal.schema import Schema

CASES = int(os.environ.get("PORTAL_FUZZ_CASES", "300"))
ORDER = {
    "type": "object",
    "properties": {"tier": {"type": "string"}, "amount": {"type": "number"}, "n": {"type": ["integer", "null"]}},
    "required": ["tier", "amount"],
    "additionalProperties": False,
}
SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    ORDER,
    {**ORDER, "additionalProperties": True},
    {**ORDER, "additionalProperties": {"type": "boolean"}},
    {**ORDER, "required": ["tier", "other"], "additionalProperties": {}},
    {"properties": {"tier": {"enum": ["gold", "silver"]}, "amount": {"type": "number", "minimum": 0}}},
    {"type": "object", "properties": {"a\n'{}\\": {"type": "integer"}, "b": True, "c": False}},
    {"type": "object", "minProperties": 1, "properties": {"n": {"type": "array", "items": {}}}},
    {"type": ["object", "string"]},
]
NAMES = st.sampled_from(["tier", "amount", "n", "b", "c", "a\n'{}\\", "other"]) | st.text(max_size=3)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats()
    | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, "gold", "e0", "\\", "\ud800", "x" * 2000, 1e21, 1e-9, -0.0])
    | st.text(max_size=5)
)
OBJECTS = st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=2), max_size=4)


def flat(json_schema: dict[str, Any]) -> tuple[FlatObject, Schema]:
    schema = Schema.of(json_schema)
    return FlatObject(schema.json, schema.fits), schema


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SCHEMAS), OBJECTS)
def test_parameters_have_the_text_of_the_general_way(json_schema: dict[str, Any], params: dict[str, Any]) -> None:
    found, schema = flat(json_schema)
    text = found.encode(params)
    if text is not None:
        assert schema.accepts(params)
        assert text == encode_parameters(params)


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SCHEMAS), OBJECTS)
def test_a_result_has_the_value_of_the_general_way(json_schema: dict[str, Any], result: dict[str, Any]) -> None:
    found, schema = flat(json_schema)
    for text in (json.dumps(result), json.dumps(result, ensure_ascii=False, separators=(",", ":"))):
        value = found.decode(text)
        if value is not None:
            assert schema.accepts(value)
            assert repr(value) == repr(decode_result(text))


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"tier": "gold", "amount": 1500}, '{"tier":"gold","amount":1500}'),
        ({"tier": "", "amount": 0.5, "n": None}, '{"tier":"","amount":0.5,"n":null}'),
        ({"tier": "gold", "amount": True}, None),
        ({"tier": "gold", "amount": float("inf")}, None),
        ({"tier": "gold", "amount": 2**53 + 1}, None),
        ({"tier": "gold", "amount": 1, "more": 1}, None),
        ({"tier": "gold", "n": 1}, None),
        ({"tier": "ü", "amount": 1}, None),
        ({"tier": ["gold"], "amount": 1}, None),
        ({type("Name", (str,), {})("tier"): "gold", "amount": 1}, None),
    ],
)
def test_parameters(params: dict[str, Any], text: str | None) -> None:
    assert flat(ORDER)[0].encode(params) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"tier":"a","amount":1}', {"tier": "a", "amount": 1}),
        ('{"tier":"a","amount":0.1,"n":null}', {"tier": "a", "amount": 0.1, "n": None}),
        ('{"tier":"a","amount":1e0}', None),
        ('{"tier":"a","amount":9007199254740993}', None),
        ('{"tier":"a","amount":1e999}', None),
        ('{"tier":"a","amount":NaN}', None),
        ('{"tier":"a","amount":1} ', None),
        ('{"tier":"a"', None),
        ('{"tier":"\\ud800","amount":1}', None),
        ('{"tier":{},"amount":1}', None),
        ('{"tier":"a"}', None),
        ("[]", None),
        ("3", None),
    ],
)
def test_results(text: str, value: Any) -> None:
    assert flat(ORDER)[0].decode(text) == value


def test_many_members_take_the_general_way() -> None:
    many = {f"m{n}": n for n in range(17)}
    for json_schema in ({}, {"type": "object"}, {"minProperties": 1}):
        assert flat(json_schema)[0].encode(many) is None
        assert flat(json_schema)[0].decode(json.dumps(many)) is None
        assert flat(json_schema)[0].decode(json.dumps({"m": 1})) == {"m": 1}
    with pytest.raises(EngineError):
        decode_result("{")
