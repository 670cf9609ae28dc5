"""Schemas of many functions in one document."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from portal.schema import Schema
from portal.schema.bundle import Hoist, pascal_case, walk

ORDER = {"type": "object", "properties": {"number": {"type": "integer"}}}


def of(definitions: dict[str, Any], name: str = "Order") -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"$ref": f"#/$defs/{name}"}}, "$defs": definitions}


@pytest.mark.parametrize(
    ("text", "name"),
    [("orders_price_input", "OrdersPriceInput"), ("9lives", "Schema9lives"), ("日本", "Schema"), ("a/b c", "ABC")],
)
def test_names_suit_generators(text: str, name: str) -> None:
    assert pascal_case(text) == name


def test_equal_definitions_become_one() -> None:
    hoist = Hoist()
    assert hoist.component("one", of({"Order": ORDER})) == {"$ref": "#/components/schemas/One"}
    hoist.component("two", of({"Order": ORDER}))
    assert list(hoist.schemas) == ["Order", "One", "Two"]
    assert hoist.schemas["One"] == {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/Order"}}}


def test_definitions_that_differ_keep_apart_whatever_their_case() -> None:
    hoist = Hoist()
    for name, kind in (("Order", "object"), ("Order", "string"), ("order", "object")):
        hoist.component("f", of({name: {"type": kind}}, name))
    assert list(hoist.schemas) == ["Order", "F", "Order2", "F2", "Order3", "F3"]


def test_what_a_definition_refers_to_tells_it_apart() -> None:
    hoist = Hoist()
    for kind in ("string", "integer", "string"):
        inner = {"Order": {"items": {"$ref": "#/$defs/Item"}}, "Item": {"type": kind}}
        hoist.inline("f", of(inner))
    assert hoist.schemas["Order"] == {"items": {"$ref": "#/components/schemas/Item"}}
    assert hoist.schemas["Order2"] == {"items": {"$ref": "#/components/schemas/Item2"}}
    assert len(hoist.schemas) == 4


def test_recursion_is_followed_once() -> None:
    hoist = Hoist()
    tree = {"Tree": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Tree"}}}}
    placed = hoist.inline("f", {"$ref": "#/$defs/Tree", "$defs": tree})
    assert placed == {"$ref": "#/components/schemas/Tree"}
    assert hoist.schemas["Tree"]["properties"]["next"] == placed


def test_a_schema_that_refers_to_its_root_becomes_a_component() -> None:
    hoist = Hoist()
    schema = {
        "type": "object",
        "properties": {"next": {"$ref": "#"}, "same": {"$ref": "#/properties/next"}, "x": {"$ref": "#/$defs/D/not"}},
        "$defs": {"D": {"not": {"$ref": "#"}}},
    }
    assert hoist.inline("list", schema) == {"$ref": "#/components/schemas/List"}
    parts = hoist.schemas["List"]["properties"]
    assert parts["next"] == {"$ref": "#/components/schemas/List"}
    assert parts["same"] == {"$ref": "#/components/schemas/List/properties/next"}
    assert parts["x"] == {"$ref": "#/components/schemas/D/not"}
    assert hoist.schemas["D"] == {"not": {"$ref": "#/components/schemas/List"}}
    hoist.inline("other", schema)
    assert "D" in hoist.schemas


def test_anchors_and_the_own_id_become_pointers() -> None:
    hoist = Hoist()
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
    hoist.component("f", schema)
    found = hoist.schemas["F"]
    assert not {"$schema", "$id"} & found.keys()
    assert found["properties"] == {
        "a": {"$ref": "#/components/schemas/T"},
        "b": {"$ref": "#/components/schemas/T"},
        "c": {"$ref": "#/components/schemas/F/allOf/0"},
        "d": {"$ref": "#/components/schemas/F"},
        "e": {"anyOf": [{"$ref": "urn:elsewhere"}], "items": {}},
    }
    assert hoist.schemas["T"] == {"type": "string"}


@pytest.mark.parametrize(
    "part", [{"$dynamicRef": "#x"}, {"$dynamicAnchor": "x"}, {"$id": "urn:inner", "items": {"$ref": "#"}}]
)
def test_what_no_reader_would_follow_is_kept_aside(part: dict[str, Any]) -> None:
    hoist = Hoist()
    schema = {"type": "object", "properties": {"a": part}}
    assert hoist.inline("f", schema) == {"$ref": "#/components/schemas/F"}
    assert hoist.schemas["F"]["x-schema"] == schema


def test_what_only_looks_like_a_schema_stays() -> None:
    schema = {
        "type": "object",
        "properties": {"$ref": {"type": "string", "default": {"$ref": "#"}}},
        "patternProperties": {"^x": True},
        "additionalProperties": False,
        "examples": [{"$ref": "#/$defs/X"}],
    }
    found = Hoist().inline("f", schema)
    assert found == schema | {"patternProperties": {"^x": {}}}


def test_true_false_and_const_are_said_in_words_that_readers_know() -> None:
    schema = {"items": False, "contains": True, "not": {"const": [1]}, "if": {"const": 1}}
    assert Hoist().inline("f", schema) == {
        "items": {"not": {}},
        "contains": {},
        "not": {"enum": [[1]]},
        "if": {"const": 1},
    }


def test_the_schema_given_is_not_changed() -> None:
    schema = of({"Order": {"type": "string", "format": "decimal"}})
    before = repr(schema)
    Hoist().component("f", schema, exact=True)
    assert repr(schema) == before


def test_a_component_of_its_own() -> None:
    hoist = Hoist(prefix="#/definitions/")
    assert hoist.reserve("Problem", {"type": "object"}) == {"$ref": "#/definitions/Problem"}
    hoist.component("problem", {})
    assert list(hoist.schemas) == ["Problem", "Problem2"]


TEXTS = {
    "decimal": [
        "0", "1.5", "-1.", ".5", "+1e10", "1E-3", "", ".", "1,5", "e5", "NaN", "Infinity", "1 ", "1e", "0x1", "1\n",
    ],
    "time": [
        "12:00:00", "23:59:59.5", "00:00:00Z", "00:00:00z", "00:00:00+01:00", "24:00:00", "12:00", "12:60:00",
        "12:00:60", "12:00:00.1234567", "12:00:00+24:00", "12:00:00+1:00", "",
    ],
    "duration": [
        "P1D", "PT1S", "PT0.5S", "P1DT1H", "P1W", "-P1D", "PT1H30M", "PT1M", "PT1H1S", "PT1H1M1.000001S", "P", "PT",
        "P178871000D", "P999999999DT86399.999999S", "-P999999999D", "-P999999999DT1S", "P899999999DT99999999H",
        "P1000000000D", "P100000000W", "P999999999DT86400S",
        "P1Y", "P1M", "P1DT", "1D", "P1W1D", "PT1.1234567S", "PT1.5H", "P-1D", "PT1M1H", "P1S", "",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("form", "text"), [(form, text) for form, texts in TEXTS.items() for text in texts])
def test_a_pattern_says_what_the_format_asserts(form: str, text: str) -> None:
    schema = {"type": "string", "format": form}
    written = Hoist().inline("f", schema, exact=True)
    # a Python `$` also fits before a last line break, which it does not in the patterns of JSON Schema
    check = jsonschema.Draft202012Validator(written, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    fits = check.is_valid(text) and not text.endswith("\n")
    assert fits == Schema.of(schema, formats=True).accepts(text)


def test_patterns_are_only_where_they_are_asserted_and_absent() -> None:
    plain = {"type": "string", "format": "decimal"}
    assert Hoist().inline("f", plain) == plain
    assert Hoist().inline("f", plain | {"pattern": "^1$"}, exact=True)["pattern"] == "^1$"
    blob = Hoist().inline("f", {"type": "string", "contentEncoding": "base64"}, exact=True)
    check = jsonschema.Draft202012Validator(blob).is_valid
    assert [check(text) for text in ("", "QQ==", "QUI=", "QUJD", "QQ", "QQ=", "Q?==")] == [True] * 4 + [False] * 3


def test_walk_gives_every_schema_and_nothing_else() -> None:
    schema = {"items": {"a": 1}, "anyOf": [{"b": 1}, True], "properties": {"x": {"c": 1}}, "default": {"d": 1}}
    assert [sorted(part)[0] for part in walk(schema)] == ["anyOf", "a", "b", "c"]


def test_what_has_a_name_for_a_title_is_a_component_of_that_name() -> None:
    point = {"title": "Point", "type": "object", "properties": {"x": {"type": "number"}}, "default": {"x": 1}}
    other = {"title": "Point", "type": "object", "properties": {"title": {"type": "string"}}}
    hoist = Hoist()
    schema = {"type": "object", "properties": {"a": point, "b": {"type": "array", "items": point}, "c": other}}
    assert hoist.component("f_input", schema) == {"$ref": "#/components/schemas/FInput"}
    assert hoist.inline("f_output", point) == {"$ref": "#/components/schemas/Point", "default": {"x": 1}}
    assert hoist.component("g_output", other) == {"$ref": "#/components/schemas/Point2"}
    bare = {"type": "object", "properties": {"x": {"type": "number"}}}
    assert hoist.schemas["Point"] == bare
    assert hoist.schemas["Point2"] == {"type": "object", "properties": {"title": {"type": "string"}}}
    assert set(hoist.schemas) == {"FInput", "Point", "Point2"}
    parts = hoist.schemas["FInput"]["properties"]
    assert parts["b"]["items"]["$ref"] == parts["a"]["$ref"] == "#/components/schemas/Point"


def test_titles_that_are_no_names_and_parts_that_are_referred_to_stay_in_place() -> None:
    told = {"title": "Two words", "type": "object", "properties": {"x": {}}}
    assert Hoist().inline("f", told) == {"description": "Two words", "type": "object", "properties": {"x": {}}}
    inner = {"title": "Inner", "type": "object", "properties": {"x": {"type": "number"}}}
    schema = {"type": "object", "properties": {"a": inner, "b": {"$ref": "#/properties/a/properties/x"}}}
    hoist = Hoist()
    hoist.component("f", schema)
    assert hoist.schemas["F"]["properties"]["b"] == {"$ref": "#/components/schemas/F/properties/a/properties/x"}
    assert set(hoist.schemas) == {"F"}


def test_choices_of_several_types_are_written_type_by_type() -> None:
    schema = {"type": ["string", "integer", "null", "boolean"], "enum": ["a", 1, None, True, 2], "description": "d"}
    written = Hoist().inline("f", schema)
    assert written == {
        "description": "d",
        "anyOf": [
            {"type": "string", "enum": ["a"]},
            {"type": "integer", "enum": [1, 2]},
            {"type": "null"},
            {"type": "boolean", "enum": [True]},
        ],
    }
    mixed: dict[str, object] = {"type": ["object", "string"], "enum": [{}, "a"]}
    assert Hoist().inline("f", mixed) == mixed
    assert Hoist().inline("f", {"enum": ["a", 1]}) == {"enum": ["a", 1]}
