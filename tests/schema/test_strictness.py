"""Strict schemas, whose compiled validator alone rejects everything that is not JSON data."""

from __future__ import annotations

from typing import Any

import pytest

from portal.schema.strictness import check_all_strings, is_scalar, is_strict
from portal.schema.validator import Validator

TREE = {"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({}, False),
        ({"type": "integer"}, True),
        ({"enum": [1, "a"]}, True),
        ({"type": "array"}, False),
        ({"type": "array", "items": {"type": "string"}}, True),
        ({"type": "array", "prefixItems": [{}], "items": False}, False),
        ({"type": "object", "properties": {"a": {"type": "null"}}}, False),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": False}, True),
        ({"anyOf": [{"type": "null"}, {}]}, False),
        ({"anyOf": [{"type": "null"}, {"const": 1}]}, True),
        ({"allOf": [{}, {"type": "null"}]}, True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}, True),
        ({"$ref": "#/$defs/%61", "$defs": {"a": {"type": "null"}}}, False),
        (TREE, False),
        ({"type": "null", "$defs": {"tree": {"items": {"$ref": "#/$defs/tree"}}}}, True),
        ({"type": "integer", "not": {"items": {"$ref": "#/not"}}}, False),
    ],
)
def test_a_strict_schema_needs_no_walk_over_the_value(schema: dict[str, Any], strict: bool) -> None:
    assert is_strict(schema) is strict
    assert Validator(schema).strict is strict


@pytest.mark.parametrize(
    ("schema", "scalar"),
    [
        ({"type": "string"}, True),
        ({"type": ["integer", "null"]}, True),
        ({"type": ["integer", "array"]}, False),
        ({"enum": [1]}, False),
        (True, False),
    ],
)
def test_a_scalar_schema_states_types_without_containers(schema: Any, scalar: bool) -> None:
    assert is_scalar(schema) is scalar


def test_a_chain_of_references_deeper_than_json_may_be_is_not_strict() -> None:
    defs: dict[str, Any] = {"d0": {"type": "null"}}
    for number in range(1, 100):
        defs[f"d{number}"] = {"type": "array", "items": {"$ref": f"#/$defs/d{number - 1}"}}

    def chain(length: int) -> dict[str, Any]:
        # the first references lead to short chains, so that each part of the longest was visited before
        parts = [{"$ref": f"#/$defs/d{number}"} for number in range(length)]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": length, "$defs": defs}

    assert is_strict(chain(30))
    assert not is_strict(chain(70))
    value: Any = None
    for _ in range(99):
        value = [value]
    faults = Validator({"$ref": "#/$defs/d99", "$defs": defs}).faults(value)
    assert [fault.rule for fault in faults] == ["depth"]


def test_every_string_gets_a_pattern() -> None:
    schema = {
        "type": "array",
        "items": {"type": ["string", "null"]},
        "prefixItems": [{"type": "string", "pattern": "a"}, {"type": "integer"}],
        "$defs": {"s": {"type": "string"}},
    }
    assert check_all_strings(schema) == {
        "type": "array",
        "items": {"type": ["string", "null"], "pattern": ""},
        "prefixItems": [{"type": "string", "pattern": "a"}, {"type": "integer"}],
        "$defs": {"s": {"type": "string", "pattern": ""}},
    }


def test_shared_definitions_are_looked_at_once() -> None:
    parts: dict[str, object] = {
        f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(20)
    }
    assert not is_strict({"$defs": {**parts, "d20": {}}, "$ref": "#/$defs/d0"})
    assert is_strict({"$defs": {**parts, "d20": {"type": "integer"}}, "$ref": "#/$defs/d0"})
