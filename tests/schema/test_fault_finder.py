"""fault_finder: the messages and paths of faults."""

from __future__ import annotations

from typing import Any

import pytest

from portal.schema.fault_finder import fault_finder

MESSAGES: list[tuple[dict[str, Any], Any, str]] = [
    ({"type": "integer"}, "3", "must be an integer, got a string"),
    ({"type": ["array", "null"]}, {}, "must be an array or null, got an object"),
    ({"minimum": 1}, 0, "must be at least 1, got 0"),
    ({"exclusiveMinimum": 1}, 1, "must be greater than 1, got 1"),
    ({"maximum": 1}, 2.5, "must be at most 1, got 2.5"),
    ({"exclusiveMaximum": 1}, 1, "must be less than 1, got 1"),
    ({"multipleOf": 3}, 4, "must be a multiple of 3, got 4"),
    ({"minLength": 2}, "a", "must have at least 2 characters, got 1"),
    ({"maxLength": 1}, "ab", "must have at most 1 character, got 2"),
    ({"minItems": 1}, [], "must have at least 1 item, got 0"),
    ({"maxProperties": 0}, {"a": 1}, "must have at most 0 members, got 1"),
    ({"pattern": "^a$"}, "b", "must match '^a$', got 'b'"),
    ({"format": "date-time"}, "x", "must have the format 'date-time', such as 2026-01-31T12:00:00Z, got 'x'"),
    (
        {"format": "date-time"},
        "2026-01-31",
        "must have the format 'date-time', such as 2026-01-31T12:00:00Z, got '2026-01-31'",
    ),
    *[
        ({"format": "date-time"}, text, f"must have a time zone, as in 2026-01-31T09:00:00Z, got '{text}'")
        for text in ("2026-01-31T09:00:00", "2026-01-31T09:00:00.123456", "2026-01-31 09:00:00", "2026-01-31t09:00")
    ],
    ({"format": "date"}, "x", "must have the format 'date', such as 2026-01-31, got 'x'"),
    ({"type": "string", "format": "decimal"}, 12.5, "must be a string such as '9.90', got a number"),
    (
        {"type": ["string", "null"], "format": "date"},
        1,
        "must be a string such as '2026-01-31' or null, got an integer",
    ),
    ({"type": "string", "format": "colour"}, 1, "must be a string, got an integer"),
    ({"enum": ["a", 1]}, "b", "must be one of ['a', 1], got 'b'"),
    ({"const": None}, 1, "must be None, got 1"),
    ({"uniqueItems": True}, [1, 1], "must not have equal items"),
    ({"prefixItems": [True, True], "items": False}, [1, 2, 3], "must have at most 2 items, got 3"),
    ({"required": ["a"]}, {}, "'a' is required"),
    ({"additionalProperties": False}, {"a": 1}, "'a' is unknown"),
    ({"anyOf": [{"type": "null"}, {"type": "string"}]}, 1, "must be null or a string, got 1"),
    ({"properties": {"a": False}}, {"a": 1}, "no value is allowed here, got 1"),
    ({"not": {"enum": list(range(200))}}, 1, "must satisfy the keyword 'not' of the schema"),
]


@pytest.mark.parametrize(("schema", "value", "message"), MESSAGES)
def test_each_rule_has_its_message(schema: dict[str, Any], value: Any, message: str) -> None:
    assert [fault.message for fault in fault_finder(schema, True)(value)] == [message]


def test_a_schema_is_not_quoted_as_expected() -> None:
    faults = fault_finder({"not": {"type": "string"}, "maxLength": 0}, True)("a")
    assert {fault.rule: fault.expected for fault in faults} == {"not": None, "maxLength": 0}


def test_the_branch_that_accepts_the_type_is_reported() -> None:
    schema = {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 2}]}
    assert [fault.rule for fault in fault_finder(schema, True)("a")] == ["minLength"]


def test_formats_are_annotations_unless_validated() -> None:
    assert fault_finder({"format": "date"}, False)("x") == []
