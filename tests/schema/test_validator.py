"""Validator: its test, its list of faults, and their agreement with jsonschema."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import OrderedDict
from decimal import Decimal
from enum import IntEnum
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.errors import ConfigError
from portal.schema import Schema
from portal.schema.fault_finder import fault_finder
from portal.schema.validator import Validator

CASES = int(os.environ.get("PORTAL_FUZZ_CASES", "300"))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("not printable")


TREE = {"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}}
NOT_JSON = {
    "bytes": (b"x", "json"),
    "set": ({1}, "json"),
    "object": (Unprintable(), "json"),
    "nan": (float("nan"), "finite"),
    "infinity": (float("-inf"), "finite"),
    "surrogate": ("\ud800", "json"),
    "surrogate name": ({"\ud800": 1}, "json"),
    "number name": ({1: 2}, "json"),
    "cycle": (cycle(), "depth"),
    "deep": (nested(10_000), "depth"),
}


@pytest.mark.parametrize("schema", [{}, {"type": "object", "properties": {"a": {"type": "integer"}}}, {"enum": [1]}])
@pytest.mark.parametrize("value", [{"a": 1}, {"a": 1.5}, {"b": []}, 1, "x", None, [2**70]])
def test_json_data_fits_exactly_if_it_is_accepted(schema: dict[str, Any], value: Any) -> None:
    validator = Validator(schema)
    assert validator.fits(value) == validator.accepts(value)
    assert Schema.of(schema).fits(value) == validator.accepts(value)


@pytest.mark.parametrize("name", NOT_JSON)
@pytest.mark.parametrize(
    "schema", [{}, {"type": ["number", "string", "array", "object"]}, TREE, {"type": "string"}, {"type": "number"}]
)
def test_a_value_that_is_not_json_data_is_rejected_and_named(name: str, schema: dict[str, Any]) -> None:
    value, rule = NOT_JSON[name]
    validator = Validator(schema)
    assert validator.accepts(value) is False
    faults = validator.faults(value)
    assert rule in [fault.rule for fault in faults]
    assert all(len(fault.value) <= 80 for fault in faults)


VERDICTS = [
    ({"type": "number"}, 1, True),
    ({"type": "number"}, True, False),
    ({"type": "number"}, "3", False),
    ({"type": "integer"}, 1.0, True),
    ({"type": "integer"}, True, False),
    ({"type": "integer"}, 10**40, True),
    ({"const": 1}, True, False),
    ({"type": "string", "format": "date"}, "2024-02-30", False),
    ({"type": "string", "format": "email"}, "no mail", True),
    ({"type": "string", "pattern": r"^\d$"}, "٣", False),
    ({"type": "string", "pattern": "a$"}, "a\n", False),
    ({"type": "string", "minLength": 2}, "😀", False),
    ({"type": "number", "multipleOf": 0.01}, 19.99, True),
    ({"type": "number", "multipleOf": 0.01}, 19.995, False),
    ({"not": {}}, 1, False),
    ({"items": False}, [1], False),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, None, True),
    ({"$defs": {"x": {"$id": "urn:x", "type": "null"}}, "$ref": "urn:x"}, 1, False),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1, False),
]


@pytest.mark.parametrize(("schema", "value", "fits"), VERDICTS)
def test_a_value_fits_or_has_faults(schema: dict[str, Any], value: Any, fits: bool) -> None:
    validator = Validator(schema)
    assert validator.accepts(value) is fits
    assert (validator.faults(value) == []) is fits


def test_every_fault_is_listed_with_its_path() -> None:
    validator = Validator(
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer"},
                "b/c": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
            },
            "required": ["a", "z"],
            "patternProperties": {"^x": {"type": "integer"}},
            "additionalProperties": False,
        }
    )
    faults = {fault.path: fault.rule for fault in validator.faults({"a": "1", "b/c": ["k", 2], "q": 1, "x1": 1})}
    assert faults == {"/a": "type", "/b~1c/1": "type", "/q": "additionalProperties", "/z": "required"}


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "strin"}, "not a valid"),
        ({"$ref": "http://127.0.0.1:1/x"}, "http://127.0.0.1:1/x"),
        ({"$ref": "file:///etc/hostname"}, "file:///etc/hostname"),
        ({"$ref": "#/$defs/none"}, "not a valid"),
        ({"pattern": "("}, "not a valid"),
        ({"const": float("nan")}, "finite"),
        ({"const": b""}, "bytes"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "draft-07"),
    ],
)
def test_an_invalid_schema_is_rejected(schema: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Validator(schema)


def test_no_reference_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", fail)
    with pytest.raises(ConfigError, match="never fetched"):
        Validator({"properties": {"a": {"$ref": "https://example.org/schema.json"}}})


def test_jsonschema_is_loaded_only_for_a_list_of_faults() -> None:
    code = "import sys, portal.schema as s; s.Schema.of(int).load(1)\n"
    code += "print(sorted({'jsonschema', 'marshmallow', 'packaging'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# Small pools make values that nearly fit as frequent as values that fit.
_numbers = st.one_of(st.integers(-6, 6), st.sampled_from([0.5, 1.0, -2.0, 2.5, 1e300, 2**53 + 1, 10**30]))
_texts = st.sampled_from(["", "a", "b", "ab", "abc", "é", "😀", "1", "2024-01-31", "2024-02-30", "1.50", "x/y~"])
_names = st.sampled_from(["a", "b", "c", "ab"])
_scalars = st.one_of(st.none(), st.booleans(), _numbers, _texts)
values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=3)),
    max_leaves=8,
)
_kinds = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
_leaf = st.fixed_dictionaries(
    {},
    optional={
        "type": st.one_of(_kinds, st.lists(_kinds, min_size=1, max_size=3, unique=True)),
        "minimum": _numbers,
        "exclusiveMaximum": _numbers,
        "multipleOf": st.sampled_from([1, 2, 3]),
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 3),
        "pattern": st.sampled_from(["a", "^a", "b$", "^[a-b]+$", "[0-9]"]),
        "format": st.sampled_from(["date", "decimal", "uuid", "duration", "time", "date-time", "email"]),
        "enum": st.lists(_scalars, min_size=1, max_size=4),
        "const": values,
    },
)


def _grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    table = st.dictionaries(_names, inner, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(_kinds, st.just(["array", "object"])),
            "properties": table,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=2),
            "additionalProperties": inner,
            "required": st.lists(_names, max_size=2, unique=True),
            "propertyNames": inner,
            "minProperties": st.integers(0, 2),
            "items": inner,
            "prefixItems": some,
            "contains": inner,
            "uniqueItems": st.booleans(),
            "maxItems": st.integers(0, 3),
            "anyOf": some,
            "oneOf": some,
            "allOf": some,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentSchemas": table,
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
            "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
        },
    )


_parts = st.recursive(st.one_of(_leaf, st.booleans()), _grow, max_leaves=6)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    root = draw(_parts)
    named = {
        "one": draw(_leaf),
        "two": {"type": "array", "items": draw(st.sampled_from([{"$ref": "#/$defs/two"}, {}]))},
    }
    return {**(root if isinstance(root, dict) else {"allOf": [root]}), "$defs": named}


def _agree(schema: dict[str, Any], value: Any) -> None:
    validator = Validator(schema, formats=False)
    verdict = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert validator.accepts(value) is verdict, (schema, value)
    assert (validator.faults(value) == []) is verdict
    with_formats = Validator(schema, formats=True)
    assert (with_formats.faults(value) == []) is with_formats.accepts(value)
    # the list of faults alone, without the test before it, has the same verdict, formats included
    assert (fault_finder(schema, True)(value) == []) is with_formats.accepts(value), (schema, value)


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas(), values, values)
def test_the_validator_agrees_with_jsonschema(schema: dict[str, Any], first: Any, second: Any) -> None:
    _agree(schema, first)
    _agree(schema, second)


class Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (float, Decimal(1)),
        (int, Decimal(1)),
        (int, Number.ONE),
        (list[int], [Number.ONE]),
        (dict[str, float], {"a": Decimal(1)}),
        (list[int], type("Other", (list,), {})([1])),
        (dict[str, int], OrderedDict(a=1)),
    ],
)
def test_a_strict_schema_rejects_what_jsonschema_rs_takes_for_json_data(hint: Any, value: Any) -> None:
    """A value that a test in one process accepts must not fail over HTTP."""
    validator = Validator(Schema.of(hint).json)
    assert validator.strict
    assert not validator.accepts(value)
    assert any("must be JSON data, got" in fault.message for fault in validator.faults(value))
