"""Shapes of scalars and containers: each one alone; whole schemas are in tests/schema/test_inline.py."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from portal.schema.codecs import generate
from portal.schema.codecs.shapes import (
    ArrayShape,
    ChoiceShape,
    FloatShape,
    MapShape,
    OptionalShape,
    PartShape,
    ScalarShape,
    Shape,
    TextShape,
    TupleShape,
)
from portal.schema.codecs.writer import Misfit, Writer


def function(shape: Shape, direction: str, **options: bool) -> Any:
    out = Writer(**options)  # type: ignore[arg-type]
    expression = getattr(shape, direction)(out, "value")
    return generate(f"def codec(value):\n{out.text}\n return {expression}", out.scope)


#: A NameError would be a fault of the generated code.
REJECTIONS = (Misfit, TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
TEXT = ScalarShape("string")
NUMBER = TextShape(int, lambda value: str(value) if type(value) is int else value, str.isdigit)

#: Shape, JSON data, native value, data that does not fit, native values that do not fit.
ROWS: list[tuple[Shape, Any, Any, list[Any], list[Any]]] = [
    (TEXT, "é", "é", [1, "\ud800", None], [1, "\ud800"]),
    (ScalarShape("integer"), 1, 1, [True, 1.0, "1"], [True]),
    (ScalarShape("boolean"), True, True, [1, 0], [1]),
    (ScalarShape("null"), None, None, [0, False], [0]),
    (ScalarShape("string", "null"), None, None, [0], [0]),
    (FloatShape(), 1.5, 1.5, [True, float("nan"), float("inf"), "1", 10**400], [float("-inf")]),
    (NUMBER, "12", 12, [12, "x", "\ud800"], [-12, "12x"]),
    (ChoiceShape(str, {"a": 1}), "a", 1, ["b", 1], [2]),
    (ChoiceShape(int, {7: 7}), 7, 7, [7.0, "a", 8], [8]),
    (ArrayShape(TEXT, list, (list, tuple)), ["a"], ["a"], ["a", [1], ("a",)], [[1], {"a"}]),
    (ArrayShape(NUMBER, deque, (deque, list)), ["1"], deque([1]), [[1]], [["x"], (1,)]),
    (TupleShape((TEXT, NUMBER)), ["a", "1"], ("a", 1), [["a"], ["a", "1", "2"], ["a", 1]], [("a",), {"a": 1}]),
    (MapShape(NUMBER), {"é": "1"}, {"é": 1}, [[], {"a": 1}, {1: "1"}], [{"\ud800": 1}, []]),
    (OptionalShape(NUMBER), "1", 1, [1], ["x"]),
    (OptionalShape(NUMBER), None, None, [0], [b"x"]),
    (PartShape(lambda value: value == "1", int, str), "1", 1, ["2", 1], [2]),
]


@pytest.mark.parametrize(("shape", "data", "native", "misfits", "strange"), ROWS)
def test_a_shape_converts_both_ways_and_rejects_misfits(
    shape: Shape, data: Any, native: Any, misfits: list[Any], strange: list[Any]
) -> None:
    load, dump = function(shape, "load"), function(shape, "dump")
    for convert, value, expected in ((load, data, native), (dump, native, data)):
        found = convert(value)
        assert found == expected
        assert type(found) is type(expected)
    for value in misfits:
        with pytest.raises(REJECTIONS):
            load(value)
    for value in strange:
        with pytest.raises(REJECTIONS):
            dump(value)


@pytest.mark.parametrize(("shape", "data", "native", "misfits", "strange"), ROWS)
def test_checking_and_building_apart(shape: Shape, data: Any, native: Any, misfits: Any, strange: Any) -> None:
    check, build = function(shape, "load", builds=False), function(shape, "load", checks=False)
    check(data)
    found = build(data)
    assert (found, type(found)) == (native, type(native))
    for value in misfits:
        with pytest.raises(REJECTIONS):
            check(value)


@pytest.mark.parametrize(
    ("shape", "same", "pure"),
    [
        (TEXT, True, True),
        (FloatShape(), False, True),
        (ChoiceShape(str, {"a": "a"}), True, True),
        (OptionalShape(TEXT), True, True),
        (PartShape(bool, None, None), True, True),
        (PartShape(bool, int, None), False, True),
        (ArrayShape(PartShape(bool, repr, None), list, (list,)), False, False),
        (MapShape(PartShape(bool, repr, None)), False, False),
        (TupleShape((TEXT, PartShape(bool, repr, None))), False, False),
    ],
)
def test_what_a_shape_says_of_itself(shape: Shape, same: bool, pure: bool) -> None:
    assert (shape.is_same, shape.is_pure) == (same, pure)
