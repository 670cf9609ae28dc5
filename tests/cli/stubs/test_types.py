"""The annotation of each JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from portal.cli.stubs.names import Names
from portal.cli.stubs.types import Types
from portal.schema.codecs.files import FILE

POINT = {
    "title": "Point",
    "type": "object",
    "properties": {"x": {"type": "number"}, "y": {"type": "number", "default": 0}},
    "required": ["x"],
    "additionalProperties": False,
}
NODE: dict[str, Any] = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "title": "Node",
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
            "additionalProperties": False,
        }
    },
}


@pytest.fixture
def types() -> Types:
    return Types(Names())


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({}, "JSONValue"),
        (True, "JSONValue"),
        ({"not": {}}, "JSONValue"),
        ({"type": "integer"}, "int"),
        ({"type": "null"}, "None"),
        ({"type": ["string", "null"]}, "str | None"),
        ({"type": "string", "format": "date"}, "dt.date"),
        ({"type": "string", "format": "decimal"}, "Decimal"),
        ({"type": "string", "format": "ipv4"}, "IPv4Address"),
        ({"type": "string", "format": "ipv6network"}, "IPv6Network"),
        ({"type": "string", "format": "email"}, "str"),
        ({"type": "string", "contentEncoding": "base64"}, "bytes"),
        ({"type": "string", "contentEncoding": "base64", "x-file": "bytes"}, "Bytes"),
        (FILE.json, "File"),
        ({"anyOf": [FILE.json, {"type": "null"}]}, "File | None"),
        ({"type": "array", "items": FILE.json}, "list[File]"),
        ({"type": "object", "x-file": ["file"]}, "dict[str, JSONValue]"),
        ({"const": "a"}, 'Literal["a"]'),
        ({"enum": ["a", None]}, 'Literal["a", None]'),
        ({"enum": [1.5]}, "JSONValue"),
        ({"type": "array"}, "list[JSONValue]"),
        ({"type": "array", "items": {"type": "string"}}, "list[str]"),
        ({"prefixItems": [{"type": "integer"}], "items": False, "minItems": 1, "type": "array"}, "tuple[int]"),
        ({"prefixItems": [], "items": False, "minItems": 0, "type": "array"}, "tuple[()]"),
        ({"prefixItems": [{"type": "integer"}], "type": "array"}, "list[JSONValue]"),
        ({"type": "object"}, "dict[str, JSONValue]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "int | str"),
        ({"oneOf": [POINT, {"type": "null"}]}, "Point | None"),
        ({"anyOf": [{"type": "integer"}, {}]}, "JSONValue"),
        ({"allOf": [{"type": "integer"}]}, "int"),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, "JSONValue"),
        ({"$ref": "#/$defs/None"}, "JSONValue"),
        ({"type": "strange"}, "JSONValue"),
        (POINT, "Point"),
        ({"type": "array", "items": POINT}, "list[Point]"),
        (NODE, "Node"),
    ],
)
def test_annotations(types: Types, schema: Any, text: str) -> None:
    assert types.annotation(schema, schema, "Place").text == text


def test_one_class_for_equal_objects_and_another_for_others(types: Types) -> None:
    other = {**POINT, "required": ["x", "y"]}
    described = {**POINT, "description": "A corner.", "default": {"x": 1}}
    texts = [types.annotation(schema, schema, "Place").text for schema in (POINT, described, other, POINT)]
    assert texts == ["Point", "Point", "Point2", "Point"]
    assert types.classes["Point"] == ["@dataclass", "class Point:", "    x: float", "    y: float = 0"]


def test_a_recursive_class_is_written_once(types: Types) -> None:
    assert types.annotation(NODE, NODE, "Place").text == "Node"
    assert types.classes["Node"][2:] == ["    next: Node | None = field(default=None, metadata=OMIT)"]


def test_an_optional_member_before_a_required_one_is_passed_by_name(types: Types) -> None:
    schema = {**POINT, "required": ["y"], "properties": {"x": {"type": "integer", "default": 1}, "y": {}}}
    assert types.annotation(schema, schema, "Place").text == "Point"
    assert types.classes["Point"][0] == "@dataclass(kw_only=True)"


def test_members_that_are_no_names_make_a_typed_dict(types: Types) -> None:
    schema = {"type": "object", "properties": {"from": POINT, "a b": {"type": "integer"}}, "required": ["a b"],
              "additionalProperties": False}  # fmt: skip
    assert types.annotation(schema, schema, "get_range").text == "GetRange"
    assert types.classes["GetRange"] == [
        "GetRange = TypedDict(",
        '    "GetRange",',
        "    {",
        '        "from": "NotRequired[Point]",',
        '        "a b": int,',
        "    },",
        ")",
    ]


def test_an_enumeration_keeps_the_names_of_its_members(types: Types) -> None:
    schema = {
        "title": "Size",
        "type": "string",
        "enum": ["s", "m", "l"],
        "x-enum-varnames": ["SMALL", "medium", "Large"],
    }
    found = types.annotation(schema, schema, "Place")
    assert types.enums["Size"] == ["class Size(Enum):", '    SMALL = "s"', '    medium = "m"', '    Large = "l"']
    assert types.default({"default": "l"}, found) == "Size.Large"
    other = schema | {"x-enum-varnames": ["SMALL", "MEDIUM", "LARGE"]}
    assert types.annotation(other, other, "Place").text == "Size2"


@pytest.mark.parametrize(
    "names",
    [
        ["A"],
        ["A", "B", "C"],
        ["A", "A"],
        ["A", 1],
        ["A", "a b"],
        ["A", "class"],
        ["A", "__init__"],
        ["A", "_b"],
        ["A", "mro"],
        ["A", "name"],
        ["A", "value"],
        ["A", "X = 1\nimport os"],
        "AB",
        None,
    ],
)
def test_names_that_cannot_be_members_are_replaced(types: Types, names: Any) -> None:
    schema = {"title": "Size", "type": "string", "enum": ["s", "m"], "x-enum-varnames": names}
    types.annotation(schema, schema, "Place")
    assert types.enums["Size"] == ["class Size(Enum):", '    S = "s"', '    M = "m"']


def test_an_enumeration_of_a_class(types: Types) -> None:
    schema = {"title": "Color", "type": "string", "enum": ["red", "dark blue", "dark-blue", "1st", ""]}
    found = types.annotation(schema, schema, "Place")
    assert types.enums["Color"] == [
        "class Color(Enum):",
        '    RED = "red"',
        '    DARK_BLUE = "dark blue"',
        '    DARK_BLUE_2 = "dark-blue"',
        '    N1ST = "1st"',
        '    EMPTY = ""',
    ]
    assert types.default({"default": "dark blue"}, found) == "Color.DARK_BLUE"
    assert types.default({"default": "green"}, found) is None


@pytest.mark.parametrize(
    ("schema", "default"),
    [
        ({"type": "integer", "default": 3}, "3"),
        ({"type": "number", "default": 1.5}, "1.5"),
        ({"type": "boolean", "default": True}, "True"),
        ({"type": "string", "default": "a'b"}, '"a\'b"'),
        ({"type": ["string", "null"], "default": None}, "None"),
        ({"type": "string", "format": "decimal", "default": "1.20"}, 'Decimal("1.20")'),
        ({"type": "string", "format": "decimal", "default": "NaN"}, None),
        ({"type": "string", "format": "date", "default": "2026-01-01"}, None),
        ({"type": "array", "default": []}, None),
        ({"enum": ["a", "b"], "default": "a"}, '"a"'),
        ({"type": "integer"}, None),
        ({"type": "integer", "default": "3"}, None),
    ],
)
def test_defaults(types: Types, schema: Any, default: str | None) -> None:
    assert types.default(schema, types.annotation(schema, schema, "Place")) == default
