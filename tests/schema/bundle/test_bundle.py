"""SchemaBundle: names of components, definitions and references."""

from __future__ import annotations

from typing import Any

import pytest

from portal.schema.bundle.bundle import SchemaBundle
from portal.schema.bundle.naming import pascal_case

ORDER = {"type": "object", "properties": {"number": {"type": "integer"}}}


def referring(definitions: dict[str, Any], name: str = "Order") -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"$ref": f"#/$defs/{name}"}}, "$defs": definitions}


@pytest.mark.parametrize(
    ("text", "name"),
    [("orders_price_input", "OrdersPriceInput"), ("9lives", "Schema9lives"), ("日本", "Schema"), ("a/b c", "ABC")],
)
def test_pascal_case_makes_names_for_generators(text: str, name: str) -> None:
    assert pascal_case(text) == name


def test_equal_definitions_become_one_component() -> None:
    bundle = SchemaBundle()
    assert bundle.add_component("one", referring({"Order": ORDER})) == {"$ref": "#/components/schemas/One"}
    bundle.add_component("two", referring({"Order": ORDER}))
    assert list(bundle.schemas) == ["Order", "One", "Two"]
    assert bundle.schemas["One"] == {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/Order"}}}


def test_different_definitions_get_names_that_differ_in_more_than_case() -> None:
    bundle = SchemaBundle()
    for name, kind in (("Order", "object"), ("Order", "string"), ("order", "object")):
        bundle.add_component("f", referring({name: {"type": kind}}, name))
    assert list(bundle.schemas) == ["Order", "F", "Order2", "F2", "Order3", "F3"]


def test_definitions_with_different_references_are_different_components() -> None:
    bundle = SchemaBundle()
    for kind in ("string", "integer", "string"):
        inner = {"Order": {"items": {"$ref": "#/$defs/Item"}}, "Item": {"type": kind}}
        bundle.inline("f", referring(inner))
    assert bundle.schemas["Order"] == {"items": {"$ref": "#/components/schemas/Item"}}
    assert bundle.schemas["Order2"] == {"items": {"$ref": "#/components/schemas/Item2"}}
    assert len(bundle.schemas) == 4


def test_a_recursive_definition_becomes_one_component() -> None:
    bundle = SchemaBundle()
    tree = {"Tree": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Tree"}}}}
    placed = bundle.inline("f", {"$ref": "#/$defs/Tree", "$defs": tree})
    assert placed == {"$ref": "#/components/schemas/Tree"}
    assert bundle.schemas["Tree"]["properties"]["next"] == placed


def test_a_schema_that_refers_to_its_root_becomes_a_component() -> None:
    bundle = SchemaBundle()
    schema = {
        "type": "object",
        "properties": {"next": {"$ref": "#"}, "same": {"$ref": "#/properties/next"}, "x": {"$ref": "#/$defs/D/not"}},
        "$defs": {"D": {"not": {"$ref": "#"}}},
    }
    assert bundle.inline("list", schema) == {"$ref": "#/components/schemas/List"}
    parts = bundle.schemas["List"]["properties"]
    assert parts["next"] == {"$ref": "#/components/schemas/List"}
    assert parts["same"] == {"$ref": "#/components/schemas/List/properties/next"}
    assert parts["x"] == {"$ref": "#/components/schemas/D/not"}
    assert bundle.schemas["D"] == {"not": {"$ref": "#/components/schemas/List"}}
    bundle.inline("other", schema)
    assert "D" in bundle.schemas


def test_references_by_anchor_or_id_become_pointers() -> None:
    bundle = SchemaBundle()
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:x",
        "allOf": [{"$anchor": "first", "type": "object"}],
        "properties": {
            "a": {"$ref": "#there"},
            "b": {"$ref": "urn:x#/$defs/T"},
            "c": {"$ref": "#first"},
            "d": {"$ref": "urn:x"},
            "e": {"anyOf": [{"$ref": "urn:elsewhere"}], "items": {"$anchor": "unused"}},
        },
        "$defs": {"T": {"$anchor": "there", "type": "string"}},
    }
    bundle.add_component("f", schema)
    found = bundle.schemas["F"]
    assert not {"$schema", "$id"} & found.keys()
    assert found["properties"] == {
        "a": {"$ref": "#/components/schemas/T"},
        "b": {"$ref": "#/components/schemas/T"},
        "c": {"$ref": "#/components/schemas/F/allOf/0"},
        "d": {"$ref": "#/components/schemas/F"},
        "e": {"anyOf": [{"$ref": "urn:elsewhere"}], "items": {}},
    }
    assert bundle.schemas["T"] == {"type": "string"}


@pytest.mark.parametrize(
    "part", [{"$dynamicRef": "#x"}, {"$dynamicAnchor": "x"}, {"$id": "urn:inner", "items": {"$ref": "#"}}]
)
def test_a_schema_with_a_dynamic_reference_or_inner_id_is_kept_unchanged(part: dict[str, Any]) -> None:
    bundle = SchemaBundle()
    schema = {"type": "object", "properties": {"a": part}}
    assert bundle.inline("f", schema) == {"$ref": "#/components/schemas/F"}
    assert bundle.schemas["F"]["x-schema"] == schema


def test_names_and_values_that_look_like_schemas_are_unchanged() -> None:
    schema = {
        "type": "object",
        "properties": {"$ref": {"type": "string", "default": {"$ref": "#"}}},
        "patternProperties": {"^x": True},
        "additionalProperties": False,
        "examples": [{"$ref": "#/$defs/X"}],
    }
    found = SchemaBundle().inline("f", schema)
    assert found == schema | {"patternProperties": {"^x": {}}}


def test_the_added_schema_is_not_changed() -> None:
    schema = referring({"Order": {"type": "string", "format": "decimal"}})
    before = repr(schema)
    SchemaBundle().add_component("f", schema, formats=True)
    assert repr(schema) == before


def test_add_keeps_the_name_for_its_component() -> None:
    bundle = SchemaBundle(prefix="#/definitions/")
    assert bundle.add("Problem", {"type": "object"}) == {"$ref": "#/definitions/Problem"}
    bundle.add_component("problem", {})
    assert list(bundle.schemas) == ["Problem", "Problem2"]


def test_an_object_whose_title_is_a_name_becomes_a_component_of_that_name() -> None:
    point = {"title": "Point", "type": "object", "properties": {"x": {"type": "number"}}, "default": {"x": 1}}
    other = {"title": "Point", "type": "object", "properties": {"title": {"type": "string"}}}
    bundle = SchemaBundle()
    schema = {"type": "object", "properties": {"a": point, "b": {"type": "array", "items": point}, "c": other}}
    assert bundle.add_component("f_input", schema) == {"$ref": "#/components/schemas/FInput"}
    assert bundle.inline("f_output", point) == {"$ref": "#/components/schemas/Point", "default": {"x": 1}}
    assert bundle.add_component("g_output", other) == {"$ref": "#/components/schemas/Point2"}
    untitled = {"type": "object", "properties": {"x": {"type": "number"}}}
    assert bundle.schemas["Point"] == untitled
    assert bundle.schemas["Point2"] == {"type": "object", "properties": {"title": {"type": "string"}}}
    assert set(bundle.schemas) == {"FInput", "Point", "Point2"}
    parts = bundle.schemas["FInput"]["properties"]
    assert parts["b"]["items"]["$ref"] == parts["a"]["$ref"] == "#/components/schemas/Point"


def test_a_sentence_as_title_or_a_reference_into_a_part_keeps_the_part_in_place() -> None:
    titled = {"title": "Two words", "type": "object", "properties": {"x": {}}}
    assert SchemaBundle().inline("f", titled) == {"description": "Two words", "type": "object", "properties": {"x": {}}}
    inner = {"title": "Inner", "type": "object", "properties": {"x": {"type": "number"}}}
    schema = {"type": "object", "properties": {"a": inner, "b": {"$ref": "#/properties/a/properties/x"}}}
    bundle = SchemaBundle()
    bundle.add_component("f", schema)
    assert bundle.schemas["F"]["properties"]["b"] == {"$ref": "#/components/schemas/F/properties/a/properties/x"}
    assert set(bundle.schemas) == {"F"}


def test_of_very_many_definitions_some_are_not_shared() -> None:
    parts: dict[str, Any] = {f"d{number}": {"items": {"$ref": f"#/$defs/d{number + 1}"}} for number in range(200)}
    schema = {"$defs": {**parts, "d200": {"type": "integer"}}, "$ref": "#/$defs/d0"}
    bundle = SchemaBundle()
    first, second = bundle.inline("A", schema), bundle.inline("B", schema)
    assert first["$ref"] in (second["$ref"], "#/components/schemas/D0")
    for name, part in bundle.schemas.items():
        if "items" in part:
            assert part["items"]["$ref"].rpartition("/")[2] in bundle.schemas, name
    assert 201 <= len(bundle.schemas) < 402


def test_many_definitions_with_one_title_get_numbers() -> None:
    parts = {f"d{number}": {"title": "Same", "const": number} for number in range(50)}
    bundle = SchemaBundle()
    bundle.inline("A", {"$defs": parts, "anyOf": [{"$ref": f"#/$defs/{name}"} for name in parts]})
    assert sorted(bundle.schemas, key=len)[:4] == ["A", "Same", "Same2", "Same3"]  # A is the union
    assert [bundle.schemas[f"Same{number}"]["const"] for number in (2, 50)] == [1, 49]
