"""The keywords of reports agree with the compiled validator, and their work is bounded."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.schema import Schema, validation_stats
from portal.schema.fault_finder import fault_finder

NAMES = st.sampled_from(["a", "ab", "b", "x1", ""])
VALUES = st.recursive(
    st.none() | st.integers(0, 3) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
SCHEMAS: list[dict[str, Any]] = [
    {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": False},
    {"patternProperties": {"^a": True, "b$": {"type": "string"}}, "additionalProperties": {"type": "null"}},
    {"properties": {"a": True}, "patternProperties": {"1": True}, "unevaluatedProperties": False},
    {"allOf": [{"properties": {"a": {"type": "integer"}}}], "unevaluatedProperties": {"type": "integer"}},
    {"anyOf": [{"required": ["a"], "properties": {"a": True}}, {"properties": {"b": {"type": "null"}}}],
     "unevaluatedProperties": False},
    {"if": {"required": ["a"]}, "then": {"properties": {"a": True}}, "else": {"properties": {"b": True}},
     "unevaluatedProperties": False},
    {"dependentSchemas": {"a": {"properties": {"b": True, "a": True}}}, "unevaluatedProperties": False},
    {"$defs": {"n": {"properties": {"a": {"$ref": "#/$defs/n"}}, "additionalProperties": {"type": "integer"}}},
     "$ref": "#/$defs/n", "unevaluatedProperties": False},
    {"propertyNames": {"pattern": "^[ab]*$"}},
    {"prefixItems": [{"type": "integer"}], "items": {"type": "string", "pattern": "a"}},
    {"prefixItems": [True], "items": False},
    {"prefixItems": [True], "contains": {"type": "integer"}, "unevaluatedItems": {"type": "string"}},
    {"allOf": [{"prefixItems": [True, {"type": "null"}]}], "unevaluatedItems": False},
    {"anyOf": [{"prefixItems": [{"type": "integer"}]}, {"items": {"type": "null"}}], "unevaluatedItems": False},
    {"if": {"prefixItems": [{"const": 1}]}, "then": {"prefixItems": [True, True]}, "unevaluatedItems": False},
    {"not": {"pattern": "a"}}, {"contains": {"pattern": "^a"}, "minContains": 2}, {"maxLength": 1, "pattern": "b"},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@given(VALUES)
def test_a_report_agrees_with_the_compiled_validator(schema: dict[str, Any], value: Any) -> None:
    assert (fault_finder(schema, True)(value) == []) is Schema.of(schema).accepts(value)


def test_text_that_is_too_long_is_not_matched_with_the_pattern() -> None:
    faults = Schema.of({"type": "string", "maxLength": 3, "pattern": "^a$"}).faults("b" * 60_000)
    assert [fault.rule for fault in faults] == ["maxLength"]


def test_the_text_for_patterns_is_bounded() -> None:
    before = validation_stats()["reports_ended"]
    schema = Schema.of({"allOf": [{"pattern": f"^{letter}"} for letter in "abcdef"]})
    faults = schema.faults("x" * 500_000)
    assert [fault.rule for fault in faults] == ["pattern", "pattern", "faults"]
    assert validation_stats()["reports_ended"] == before + 1


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"additionalProperties": {"type": "array", "items": {"type": "integer"}}}, {"k" * 500_000: ["x"] * 2_000}),
        ({}, {"k" * 500_000: ["\ud800"] * 2_000}),
        ({"additionalProperties": {"required": [f"n{number}" for number in range(2_000)]}}, {"k" * 100_000: {}}),
        ({"items": {"enum": [f"name{number}" for number in range(5_000)]}}, ["x"] * 1_000),
        ({"patternProperties": {"k": {"items": {"minimum": 1}}}}, {"k" * 500_000: [0] * 2_000}),
        ({"additionalProperties": False}, {f"{number}" + "k" * 1_000: 1 for number in range(1_000)}),
    ],
    ids=["path", "not JSON", "required", "enum", "pattern", "unknown"],
)
def test_the_text_of_a_report_is_bounded(schema: dict[str, Any], value: Any) -> None:
    made = Schema.of(schema)
    made.faults(value)
    tracemalloc.start()
    try:
        faults = made.faults(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert faults[-1].rule == "faults"
    assert sum(len(fault.path) + len(fault.message) + len(fault.value) for fault in faults) < 2_200_000
    assert peak < 24_000_000


def test_many_unevaluated_members_are_searched_once() -> None:
    schema = Schema.of({"unevaluatedProperties": False, "properties": {f"k{number}": True for number in range(3_000)}})
    faults = schema.faults({f"k{number}": 1 for number in range(3_001)})
    assert [fault.message for fault in faults] == ["Unevaluated properties are not allowed ('k3000' was unexpected)"]
