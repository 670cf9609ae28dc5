"""The schemas inside a JSON Schema, and references among them."""

from __future__ import annotations

from typing import Any

import pytest

from portal.schema.subschemas import APPLICATORS, applied_subschemas, map_subschemas, resolve, subschemas, walk

SCHEMA: dict[str, Any] = {
    "items": {"a": 1},
    "anyOf": [{"b": 1}, True],
    "properties": {"x/y": {"c": 1}},
    "$defs": {"D": {"e": 1}},
    "contentSchema": {"f": 1},
    "default": {"d": 1},
}


def test_subschemas_have_their_paths() -> None:
    assert list(subschemas(SCHEMA)) == [
        (("items",), {"a": 1}),
        (("anyOf", 0), {"b": 1}),
        (("anyOf", 1), True),
        (("properties", "x/y"), {"c": 1}),
        (("$defs", "D"), {"e": 1}),
        (("contentSchema",), {"f": 1}),
    ]
    assert list(subschemas({"anyOf": 1, "properties": []})) == []


def test_definitions_are_not_applied() -> None:
    assert list(applied_subschemas(SCHEMA)) == [{"a": 1}, {"b": 1}, True, {"c": 1}]
    assert "$defs" not in APPLICATORS
    assert "if" in APPLICATORS


def test_map_replaces_direct_subschemas_only() -> None:
    assert map_subschemas(SCHEMA, lambda schema: 0) == {
        "items": 0,
        "anyOf": [0, 0],
        "properties": {"x/y": 0},
        "$defs": {"D": 0},
        "contentSchema": 0,
        "default": {"d": 1},
    }


def test_walk_yields_every_schema_and_nothing_else() -> None:
    schema = {"items": {"a": 1}, "anyOf": [{"b": 1}, True], "properties": {"x": {"c": 1}}, "default": {"d": 1}}
    assert [sorted(part)[0] for part in walk(schema)] == ["anyOf", "a", "b", "c"]


@pytest.mark.parametrize(
    ("reference", "found"),
    [("#", SCHEMA), ("#/properties/x~1y", {"c": 1}), ("#/$defs/none/x", None), ("#/a%20b", None), ("urn:x", None)],
)
def test_resolve_follows_pointers_within_the_schema(reference: str, found: Any) -> None:
    assert resolve(SCHEMA, reference) == found
