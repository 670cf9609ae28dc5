"""Schemas of a few KB that would take minutes, and the bound that rejects them before they are compiled."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from portal import ConfigError
from portal.schema import Schema, ValidationLimits, set_validation_limits, validation_stats
from portal.schema.bounds.expansion import expansion, require_bounded
from portal.schema.bundle.bundle import SchemaBundle

Make = Callable[[dict[str, Any]], dict[str, Any]]
INTEGER = {"type": "integer"}


def chain(length: int, make: Make, reference: Callable[[int], dict[str, Any]], last: Any = INTEGER) -> dict[str, Any]:
    """Return definitions d0, d1, ... of which each is made with the reference to the next one."""
    parts = {f"d{number}": make(reference(number + 1)) for number in range(length)}
    return {"$defs": {**parts, f"d{length}": last}, **reference(0)}


def by_pointer(number: int) -> dict[str, Any]:
    return {"$ref": f"#/$defs/d{number}"}


DOUBLING: dict[str, Make] = {
    "allOf": lambda part: {"allOf": [part, part]},
    "anyOf": lambda part: {"anyOf": [part, part]},
    "oneOf": lambda part: {"oneOf": [part, part]},
    "not and if": lambda part: {"not": part, "if": part},
    "items in two places": lambda part: {"items": part, "anyOf": [{"items": part}]},
    "properties and pattern": lambda part: {"properties": {"a": part}, "patternProperties": {"a": part}},
    "names": lambda part: {"propertyNames": part, "additionalProperties": part},
    "dependent": lambda part: {"dependentSchemas": {"a": part, "b": part}},
    "contains": lambda part: {"contains": part, "items": part},
    "unevaluated": lambda part: {"allOf": [part], "unevaluatedItems": part},
    "then and else": lambda part: {"if": True, "then": part, "else": part},
}


@pytest.mark.parametrize("name", DOUBLING)
@pytest.mark.parametrize("last", [INTEGER, {"items": {"$ref": "#/$defs/d0"}}], ids=["", "recursive"])
def test_definitions_that_double_are_rejected(name: str, last: Any) -> None:
    before = validation_stats()["schemas_rejected"]
    schema = chain(25, DOUBLING[name], by_pointer, last)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="at most 5,000 schemas of a JSON Schema may apply to one value"):
            Schema.of(schema)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert validation_stats()["schemas_rejected"] == before + 1
    assert peak < 1_000_000


REFERENCES: dict[str, tuple[Callable[[int], dict[str, Any]], Callable[[dict[str, Any], int], dict[str, Any]]]] = {
    "percent-encoded": (lambda number: {"$ref": f"#/%24defs/%64{number}"}, lambda part, number: part),
    "anchor": (lambda number: {"$ref": f"#a{number}"}, lambda part, number: {"$anchor": f"a{number}", **part}),
    "dynamic": (
        lambda number: {"$dynamicRef": f"#a{number}"},
        lambda part, number: {"$dynamicAnchor": f"a{number}", **part},
    ),
    "$id": (
        lambda number: {
            "$ref": "http://portal.example/" if number == 0 else f"http://portal.example/#/$defs/d{number}"
        },
        lambda part, number: part,
    ),
    "sibling": (lambda number: {"$ref": f"#/$defs/d{number}", "title": "x"}, lambda part, number: part),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_every_kind_of_reference_is_followed(kind: str) -> None:
    reference, mark = REFERENCES[kind]
    schema = chain(25, DOUBLING["allOf"], reference)
    schema["$defs"] = {name: mark(part, int(name[1:])) for name, part in schema["$defs"].items()}
    if kind == "$id":
        schema = {"$id": "http://portal.example/", **schema, "$ref": "#/$defs/d0"}
    with pytest.raises(ConfigError, match="may apply to one value"):
        require_bounded(schema)


def test_definitions_in_a_place_without_a_meaning_are_followed() -> None:
    parts: dict[str, Any] = {
        f"d{number}": {"allOf": [{"$ref": f"#/x-parts/d{number + 1}"}] * 2} for number in range(25)
    }
    with pytest.raises(ConfigError, match="may apply to one value"):
        Schema.of({"x-parts": {**parts, "d25": INTEGER}, "$ref": "#/x-parts/d0"})


@pytest.mark.parametrize(
    ("schema", "number"),
    [
        (True, 1),
        ({}, 1),
        ({"allOf": [{}, {}]}, 3),
        ({"properties": {"a": {"allOf": [{}, {}]}, "b": {}}}, 4),
        ({"$defs": {"a": {"not": {}}}}, 1),
        ({"$defs": {"a": {"not": {}}}, "$ref": "#/$defs/a"}, 3),
        ({"items": {"$ref": "#"}}, 3),
        ({"$ref": "#"}, 2),
        ({"$ref": "#/$defs/none"}, 2),
        (chain(25, lambda part: {"properties": {"a": part, "b": part}}, by_pointer), 52),
    ],
)
def test_the_number_of_schemas_counts_each_reference(schema: Any, number: int) -> None:
    assert expansion(schema) == number


def test_a_long_chain_of_references_is_counted_without_recursion() -> None:
    assert expansion(chain(50_000, lambda part: part, by_pointer)) == 50_002


def test_the_number_of_schemas_is_bounded() -> None:
    with pytest.raises(ConfigError, match="at most 5,000 schemas in it"):
        Schema.of(chain(30_000, lambda part: part, by_pointer))
    with pytest.raises(ConfigError, match="at most 16 parts with an"):
        Schema.of({"$defs": {f"d{number}": {"$id": f"http://portal.example/{number}"} for number in range(20)}})


def test_the_limits_are_options() -> None:
    schema = chain(5, DOUBLING["allOf"], by_pointer)
    Schema.of(schema)
    earlier = set_validation_limits(ValidationLimits(max_expansion=10))
    try:
        with pytest.raises(ConfigError, match="at most 10 schemas of a JSON Schema may apply to one value, got 12"):
            Schema.of(schema)
        set_validation_limits(ValidationLimits(max_schemas=3))
        with pytest.raises(ConfigError, match="at most 3 schemas in it"):
            Schema.of(schema)
    finally:
        set_validation_limits(earlier)


#: Accepted, since each part of a value is looked at once; work that follows each path to a definition would double.
SHARED: dict[str, Make] = {
    "members": lambda part: {"type": "object", "properties": {"a": part, "b": part}, "additionalProperties": False},
    "items": lambda part: {"type": "array", "prefixItems": [part, part], "items": False, "minItems": 2},
    "titles": lambda part: {"type": "object", "title": "Same", "properties": {"a": part, "b": part}},
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("length", [25, 60, 1_500])
def test_shared_definitions_are_handled_once(name: str, length: int) -> None:
    source = chain(length, SHARED[name], by_pointer)
    schema = Schema.of(source)
    assert not schema.accepts("x")
    assert [fault.rule for fault in schema.faults("x")] == ["type"]
    assert Schema.of(schema.to_hint()).accepts({"a": 1}) or name == "items"
    bundle = SchemaBundle()
    bundle.inline("Input", source)
    assert len(bundle.schemas) == length + 1
