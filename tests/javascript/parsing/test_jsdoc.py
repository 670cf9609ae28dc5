from __future__ import annotations

from typing import Any

import pytest

from portal import JSFunction
from portal.javascript.parsing.jsdoc import comment_before, read_jsdoc, schema_of_type

ITEM = "/** @typedef {{sku: string, quantity?: integer}} Item */\n"


def members(*names: str, **optional: Any) -> dict[str, Any]:
    properties = {name: {"type": "number"} for name in names} | optional
    return {"type": "object", "properties": properties, "required": list(names), "additionalProperties": False}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("number", {"type": "number"}),
        ("integer", {"type": "integer"}),
        ("string[]", {"type": "array", "items": {"type": "string"}}),
        ("number[][]", {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}),
        ("Array<boolean>", {"type": "array", "items": {"type": "boolean"}}),
        ("Array.<string>", {"type": "array", "items": {"type": "string"}}),
        ("Record<string, number>", {"type": "object", "additionalProperties": {"type": "number"}}),
        ('"a"|"b"', {"enum": ["a", "b"]}),
        ("'a' | 1 | true", {"enum": ["a", 1, True]}),
        ("string|null", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("?string", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("(string|number)[]", {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}]}}),
        ("{a: number, b: number}", members("a", "b")),
        ("{a: number; b?: string}", members("a", b={"type": "string"})),
        ("Promise<number>", {"type": "number"}),
        ("Date", {"type": "string", "format": "date-time"}),
        ("Unknown", {}),
        ("*", {}),
        ("{a: ", {}),
        ("function(number): string", {}),
    ],
)
def test_types(text: str, expected: dict[str, Any]) -> None:
    assert schema_of_type(text) == expected


def test_parameters_and_result() -> None:
    source = (
        ITEM
        + """
/**
 * The price of an order.
 * @param {number} amount - before the discount
 * @param {"gold"|"silver"} [tier="silver"]
 * @param {Item[]} items
 * @returns {{total: number}} the price
 */
export default async function price(amount, tier, items) {}
"""
    )
    schema = JSFunction(source, "price").schema
    assert schema.description == "The price of an order."
    assert schema.input["properties"]["amount"] == {"type": "number", "description": "before the discount"}
    assert schema.input["properties"]["tier"] == {"enum": ["gold", "silver"], "default": "silver"}
    assert schema.input["properties"]["items"]["items"]["properties"]["quantity"] == {"type": "integer"}
    assert schema.input["required"] == ["amount", "items"]
    assert schema.output == members("total")


@pytest.mark.parametrize(
    "comment",
    [
        "/** @param {{a: number, b: number}} p */",
        "/**\n * @param {Object} p\n * @param {number} p.a\n * @param {number} p.b\n */",
        "/** @typedef {Object} Pair\n * @property {number} a\n * @property {number} b */\n/** @param {Pair} p */",
    ],
)
def test_one_object_is_the_object_of_all_parameters(comment: str) -> None:
    function = JSFunction(f"{comment}\nconst add = (p) => p.a + p.b", "add")
    assert function.schema.input["required"] == ["a", "b"]
    assert function.program("{}", {}).arguments is None


def test_one_plain_parameter_is_passed_by_name() -> None:
    function = JSFunction("/** @param {number} x */\n(x) => x * x", "square")
    assert function.schema.input == members("x")
    assert function.program("{}", {}).arguments == ("x",)


def test_the_comment_before_a_function() -> None:
    source = "/** first */\nlet a = 1;\n/** second */\nexport default async function f() {}"
    assert comment_before(source, source.index("async")) == "/** second */"
    assert comment_before(source, source.index("let")) == "/** first */"
    assert comment_before("/** a */ let x = f(1); function g() {}", 24) == ""
    assert read_jsdoc("function g() {}", 0) is None


@pytest.mark.parametrize("comment", ["@param", "@param {number", "@typedef", "@returns {{}"])
def test_a_broken_comment_permits_anything(comment: str) -> None:
    assert JSFunction(f"/** {comment} */\nfunction f(a) {{}}", "f").schema.name == "f"


@pytest.mark.parametrize(
    "text", ["(" * 5000, "Array<" * 5000, "{a: " * 5000, "number" + "[]" * 5000, "?(" * 5000, "007"]
)
def test_a_type_that_is_too_deep_or_no_type_permits_anything_below(text: str) -> None:
    found = schema_of_type(text)
    depth = 0
    while isinstance(found.get("items", found.get("additionalProperties")), dict):
        found = found.get("items", found.get("additionalProperties")) or {}
        depth += 1
    assert depth <= 25
    JSFunction(f"/** @param {{{text}}} p */\nfunction f(p) {{}}", "f")
    JSFunction("/** @param {number} " + "a." * 5000 + "b */\nfunction f(p) {}", "f")
