"""Names for the enumerations and unions of a schema."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from portal.schema.bundle.naming import has_inner_references, name_choices, pascal_case

WORDS = {"type": "string", "enum": ["a", "b"]}
POINT = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "additionalProperties": False}
LINE = {"type": "object", "properties": {"of": {"type": "number"}}, "required": ["of"], "additionalProperties": False}
NULL = {"type": "null"}


def of_member(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
    """Return what stands at the member `unit` of the schema AddInput, and the definitions."""
    root = {"type": "object", "properties": {"unit": schema}, **({"$defs": definitions} if definitions else {})}
    found = name_choices(root, "add_input")
    for value in (None, 1, 1.5, "a", "z", True, [], ["a"], [1], {}, {"x": 1}, {"of": 1}, {"x": 1, "of": 1}, [{"x": 1}]):
        same = [jsonschema.Draft202012Validator(one).is_valid({"unit": value}) for one in (root, found)]
        assert same[0] == same[1], value
    return found["properties"]["unit"], found.get("$defs", {})


def ref(name: str, **beside: Any) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}", **beside}


@pytest.mark.parametrize(
    ("schema", "place", "definitions"),
    [
        (WORDS, ref("AddInputUnit"), {"AddInputUnit": WORDS}),
        (WORDS | {"title": "Unit"}, ref("Unit"), {"Unit": WORDS | {"title": "Unit"}}),
        (
            WORDS | {"default": "a", "description": "d"},
            ref("AddInputUnit", default="a", description="d"),
            {"AddInputUnit": WORDS},
        ),
        (
            {"type": "array", "items": WORDS},
            {"type": "array", "items": ref("AddInputUnitItem")},
            {"AddInputUnitItem": WORDS},
        ),
        (
            {"type": "object", "additionalProperties": WORDS},
            {"type": "object", "additionalProperties": ref("AddInputUnitValue")},
            {"AddInputUnitValue": WORDS},
        ),
        (
            {"type": "array", "prefixItems": [WORDS, WORDS]},
            {"type": "array", "prefixItems": [ref("AddInputUnitItem1"), ref("AddInputUnitItem2")]},
            {"AddInputUnitItem1": WORDS, "AddInputUnitItem2": WORDS},
        ),
        ({"anyOf": [WORDS, NULL]}, {"anyOf": [ref("AddInputUnit"), NULL]}, {"AddInputUnit": WORDS}),
        ({"anyOf": [POINT, NULL]}, {"anyOf": [POINT, NULL]}, {}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}, {}),
        ({"enum": ["a", 1]}, {"enum": ["a", 1]}, {}),
        ({"not": WORDS}, {"not": WORDS}, {}),
    ],
)
def test_an_enumeration_has_a_name(schema: dict[str, Any], place: Any, definitions: dict[str, Any]) -> None:
    assert of_member(schema) == (place, definitions)


INTEGER, TEXT, FLAG = {"type": "integer"}, {"type": "string"}, {"type": "boolean"}
DATE = {"type": "string", "format": "date"}


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ([INTEGER, TEXT], "oneOf"),
        ([INTEGER, {"type": "array", "items": INTEGER}, POINT], "oneOf"),
        ([POINT, LINE], "oneOf"),
        ([INTEGER, {"type": "number", "minimum": 1}], "anyOf"),  # 1 fits both
        ([TEXT, {"type": "string", "minLength": 2}], "anyOf"),
        ([DATE, FLAG], "anyOf"),  # generators take any text for a date
        ([POINT, {"type": "object", "properties": {"x": {}}}], "anyOf"),
        ([POINT, LINE | {"additionalProperties": True}], "anyOf"),
        ([INTEGER, {}], "anyOf"),
        ([INTEGER, {"type": "object"}], "anyOf"),
        ([INTEGER, {"type": "array"}], "anyOf"),
        ([INTEGER, {"type": "array", "items": {}}], "anyOf"),
        ([INTEGER, {"type": "array", "items": {"type": ["integer", "null"]}}], "oneOf"),
    ],
)
def test_a_union_has_a_name_and_is_exclusive_if_that_is_sure(members: list[Any], kind: str) -> None:
    union = {"AddInputUnit": {kind: members}}
    assert of_member({"anyOf": members}) == (ref("AddInputUnit"), union)
    assert of_member({"anyOf": members, "description": "d"}) == (ref("AddInputUnit", description="d"), union)
    place, definitions = of_member({"anyOf": [*members, NULL], "default": None})
    assert (place, definitions) == ({"anyOf": [ref("AddInputUnit"), NULL], "default": None}, union)


def test_what_limits_a_union_keeps_it_in_its_place() -> None:
    union = {"anyOf": [INTEGER, TEXT], "maxLength": 2}
    assert of_member(union) == (union, {})
    assert of_member({"oneOf": [INTEGER, TEXT]}) == (ref("AddInputUnit"), {"AddInputUnit": {"oneOf": [INTEGER, TEXT]}})


def test_the_choices_of_a_union_are_named_by_their_types() -> None:
    place, definitions = of_member({"anyOf": [WORDS, {"type": "integer", "enum": [3]}]})
    assert place == ref("AddInputUnit")
    assert list(definitions) == ["AddInputUnitString", "AddInputUnitInteger", "AddInputUnit"]
    assert definitions["AddInputUnit"] == {"oneOf": [ref("AddInputUnitString"), ref("AddInputUnitInteger")]}


def test_a_member_and_a_list_of_it_are_told_apart() -> None:
    given = {"anyOf": [ref("Point"), {"type": "array", "items": ref("Point")}]}
    _, definitions = of_member(given, {"Point": POINT})
    assert definitions["AddInputUnitItem"] == {"allOf": [ref("Point")]}
    assert definitions["AddInputUnit"]["oneOf"][1] == {"type": "array", "items": ref("AddInputUnitItem")}
    nested = POINT | {"properties": {"x": {"type": "object"}}}  # a generator would make its class twice
    _, definitions = of_member(given, {"Point": nested})
    assert definitions["AddInputUnit"] == given


def test_names_that_are_taken_get_numbers_and_equal_definitions_are_one() -> None:
    titled = WORDS | {"title": "Unit"}
    other = {"type": "string", "enum": ["c"], "title": "Unit"}
    root = {"properties": {"a": titled, "b": other, "c": titled, "d": ref("Unit2")}, "$defs": {"Unit2": POINT}}
    found = name_choices(root, "x")
    assert {name: part["$ref"][8:] for name, part in found["properties"].items()} == {
        "a": "Unit",
        "b": "Unit3",
        "c": "Unit",
        "d": "Unit2",
    }
    assert found["$defs"]["Unit3"] == other


def test_definitions_are_searched_and_keep_their_names() -> None:
    tree = {"type": "object", "properties": {"kind": WORDS, "next": {"anyOf": [ref("Tree"), TEXT]}}}
    found = name_choices({"$ref": "#/$defs/Tree", "$defs": {"Tree": tree, "Kind": WORDS}}, "x")
    assert found["$defs"]["Kind"] == WORDS
    assert found["$defs"]["Tree"]["properties"] == {"kind": ref("TreeKind"), "next": ref("TreeNext")}
    assert found["$defs"]["TreeNext"] == {"oneOf": [ref("Tree"), TEXT]}
    assert name_choices(WORDS, "the_output") == ref("TheOutput") | {"$defs": {"TheOutput": WORDS}}


@pytest.mark.parametrize(
    ("reference", "inner"),
    [("#/$defs/A", False), ("#/$defs/A/items", True), ("#/properties/a", True), ("#", True), ("urn:x", False)],
)
def test_references_into_parts_are_found(reference: str, inner: bool) -> None:
    assert has_inner_references({"items": {"$ref": reference}}) is inner


def test_pascal_case() -> None:
    assert [pascal_case(text) for text in ("get_user/input", "", "1a", "AddInput")] == [
        "GetUserInput",
        "Schema",
        "Schema1a",
        "AddInput",
    ]
