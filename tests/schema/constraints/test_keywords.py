"""Constraints in Annotated: their keywords, and types that they do not apply to."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import pytest

from portal.errors import ConfigError
from portal.schema import Schema
from portal.schema.constraints import Description, Example, Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf, Pattern, Unique


class Interval:
    """Has the name and the attributes of `annotated_types.Interval`."""

    def __init__(self, **bounds: Any) -> None:
        self.__dict__.update(bounds)


CONSTRAINED: list[tuple[Any, dict[str, Any]]] = [
    (Annotated[int, Gt(0), Lt(9)], {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9}),
    (
        Annotated[float, Ge(0), Le(1), MultipleOf(0.5)],
        {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.5},
    ),
    (
        Annotated[str, MinLen(1), MaxLen(2), Pattern("^a")],
        {"type": "string", "minLength": 1, "maxLength": 2, "pattern": "^a"},
    ),
    (
        Annotated[list[str], MinLen(1), Unique()],
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
    ),
    (
        Annotated[dict[str, str], MaxLen(1)],
        {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
    ),
    (
        Annotated[int, Description("years"), Example(3), Example(4)],
        {"type": "integer", "description": "years", "examples": [3, 4]},
    ),
    (Annotated[int | None, Ge(1)], {"type": ["integer", "null"], "minimum": 1}),
    (Annotated[int, Ge(1), Ge(2)], {"type": "integer", "minimum": 1, "allOf": [{"minimum": 2}]}),
    (Annotated[int, Interval(gt=1, ge=None, lt=None, le=5)], {"type": "integer", "exclusiveMinimum": 1, "maximum": 5}),
]


@pytest.mark.parametrize(("hint", "json"), CONSTRAINED)
def test_a_constraint_adds_its_keywords(hint: Any, json: dict[str, Any]) -> None:
    assert Schema.of(hint).json == json


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (Annotated[bool, Ge(1)], "bool"),
        (Annotated[int, MinLen(1)], "int"),
        (Annotated[Decimal, MinLen(1)], "Decimal"),
        (Annotated[int, Pattern("a")], "int"),
        (Annotated[bytes, Pattern("a")], "bytes"),
        (Annotated[int, Unique()], "int"),
    ],
)
def test_a_constraint_must_apply_to_the_type(hint: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot constrain {name}: it does not apply to values") as caught:
        Schema.of(hint)
    assert repr(hint.__metadata__[0]) in caught.value.message


def test_other_annotations_are_ignored() -> None:
    assert Schema.of(Annotated[int, "note", object()]).json == {"type": "integer"}
