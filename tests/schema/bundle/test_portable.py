"""portable: schemas for readers that support less than JSON Schema 2020-12."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from portal.schema import Schema
from portal.schema.bundle.portable import portable


def rewritten(schema: dict[str, Any], *, formats: bool = False) -> Any:
    return portable(schema, lambda reference: reference, formats=formats)


def test_names_of_members_stay_with_their_choices() -> None:
    names = {"title": "Size", "x-enum-varnames": ["SMALL", "LARGE"]}
    assert rewritten({"type": "string", "enum": ["s", "l"]} | names) == {"type": "string", "enum": ["s", "l"]} | names
    for choices in (["s", None], [True, False], ["s", 1]):
        assert "x-enum-varnames" not in rewritten({"enum": choices} | names)
    assert rewritten({"enum": ["s"], "x-enum-varnames": 5}) == {"type": "string", "enum": ["s"]}


def test_boolean_schemas_and_const_of_an_array_are_rewritten() -> None:
    schema = {"items": False, "contains": True, "not": {"const": [1]}, "if": {"const": 1}}
    assert rewritten(schema) == {
        "items": {"not": {}},
        "contains": {},
        "not": {"enum": [[1]]},
        "if": {"const": 1},
    }


def test_references_are_renamed() -> None:
    schema = {"items": {"$ref": "#/$defs/A"}, "default": {"$ref": "#/$defs/A"}, "$id": "urn:x"}
    assert portable(schema, str.lower, formats=False) == {
        "items": {"$ref": "#/$defs/a"},
        "default": {"$ref": "#/$defs/A"},
    }


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
def test_the_pattern_accepts_what_the_format_accepts(form: str, text: str) -> None:
    schema = {"type": "string", "format": form}
    written = rewritten(schema, formats=True)
    # in Python `$` also matches before a trailing newline; in the patterns of JSON Schema it does not
    check = jsonschema.Draft202012Validator(written, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    fits = check.is_valid(text) and not text.endswith("\n")
    assert fits == Schema.of(schema, formats=True).accepts(text)


def test_a_pattern_is_added_only_for_validated_formats_without_one() -> None:
    plain = {"type": "string", "format": "decimal"}
    assert rewritten(plain) == {"type": "string", "x-format": "decimal"}
    assert rewritten(plain | {"pattern": "^1$"}, formats=True)["pattern"] == "^1$"
    blob = rewritten({"type": "string", "contentEncoding": "base64"}, formats=True)
    check = jsonschema.Draft202012Validator(blob).is_valid
    assert [check(text) for text in ("", "QQ==", "QUI=", "QUJD", "QQ", "QQ=", "Q?==")] == [True] * 4 + [False] * 3


def test_choices_of_several_types_are_grouped_by_type() -> None:
    schema = {"type": ["string", "integer", "null", "boolean"], "enum": ["a", 1, None, True, 2], "description": "d"}
    written = rewritten(schema)
    assert written == {
        "description": "d",
        "anyOf": [
            {"type": "string", "enum": ["a"]},
            {"type": "integer", "enum": [1, 2]},
            {"type": "null"},
            {"type": "boolean", "not": {"const": False}},
        ],
    }
    mixed: dict[str, object] = {"type": ["object", "string"], "enum": [{}, "a"]}
    assert rewritten(mixed) == mixed
    grouped = {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}]}
    assert rewritten({"enum": ["a", 1]}) == grouped
    assert rewritten({"enum": ["a", "b"]}) == {"type": "string", "enum": ["a", "b"]}
    assert rewritten({"type": ["string"], "enum": ["a", "b"]}) == {"type": "string", "enum": ["a", "b"]}
    assert rewritten({"type": "string", "enum": ["a", 1]}) == {"type": "string", "enum": ["a", 1]}


EQUAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "null"}, {"const": None}),
    ({"properties": {"a": {"type": ["null"]}}}, {"properties": {"a": {"const": None}}}),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    ({"oneOf": [{"type": "string"}, {"const": None}]}, {"oneOf": [{"type": "string"}, {"type": "null"}]}),
    ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
    ({"const": "a"}, {"type": "string", "const": "a"}),
    ({"const": 1}, {"const": 1}),
    ({"enum": [True]}, {"type": "boolean", "not": {"const": False}}),
    ({"type": "boolean", "enum": [False, True]}, {"type": "boolean"}),
    ({"enum": [False, None]}, {"anyOf": [{"type": "boolean", "not": {"const": True}}, {"type": "null"}]}),
    ({"type": ["null", "integer"], "enum": [None]}, {"const": None}),
    (
        {"type": ["integer", "string", "null"], "maxLength": 2},
        {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}], "maxLength": 2},
    ),
    ({"anyOf": [{"type": "integer"}, {"type": "number"}], "minimum": 1}, {"type": "number", "minimum": 1}),
    (
        {"anyOf": [{"type": "integer", "minimum": 9}, {"type": "number"}, {"type": "null"}]},
        {"anyOf": [{"type": "number"}, {"type": "null"}]},
    ),
    (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}], "items": False},
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "integer"}],
            "items": {"type": "integer"},
            "maxItems": 2,
        },
    ),
    (
        {"prefixItems": [{"type": "integer"}, True], "items": False, "maxItems": 1},
        {"prefixItems": [{"type": "integer"}, {}], "items": {}, "maxItems": 1},
    ),
]
VALUES = [None, True, 0, 1, 9, 1.5, "", "a", "abc", [], [1], [1, 2], [1, "a"], [1, 2, 3], {}, {"a": None}, {"a": 1}]


@pytest.mark.parametrize(("schema", "expected"), EQUAL)
def test_types_that_generators_lack_are_written_otherwise(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    written = rewritten(schema)
    assert written == rewritten(written) == expected
    for value in VALUES:
        assert jsonschema.Draft202012Validator(written).is_valid(value) == Schema.of(schema).accepts(value), value
