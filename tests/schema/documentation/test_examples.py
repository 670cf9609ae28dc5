"""Example values for JSON Schemas."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest

from portal import HTTPPortal, function
from portal.schema import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf, Pattern, Schema
from portal.schema.documentation.examples import example_of, examples_by_type, text_of_pattern


class Color(Enum):
    """A color."""

    RED = "red"


@dataclass
class Item:
    """An item."""

    sku: Annotated[str, Pattern("^[A-Z]{3}-[0-9]{3}$")]
    quantity: Annotated[int, Ge(1), Le(10)] = 2
    day: date | None = None
    parts: list[Item] = field(default_factory=list)


HINTS: list[Any] = [
    *(bool, int, float, str, bytes, None, date, datetime, time, timedelta, Decimal, Fraction, UUID, Path),
    *(IPv4Address, IPv6Network, Color, Item, Literal["a", 1], int | None, list[int], dict[str, int], tuple[int, str]),
    *(Annotated[int, Ge(5)], Annotated[int, Gt(5)], Annotated[int, Le(-5)], Annotated[int, Lt(-5)]),
    *(Annotated[int, MultipleOf(7), Ge(8)], Annotated[float, Gt(0), Lt(1)], Annotated[float, Ge(100)]),
    *(Annotated[str, MinLen(40)], Annotated[str, MaxLen(3)], Annotated[list[int], MinLen(3)]),
    *(Annotated[str, Pattern(r"^\d{4}-\d{2}$")], Annotated[str, Pattern("^[^@]+@[a-z]+[.]com$")]),
]


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_the_example_of_a_hint_fits(hint: Any) -> None:
    schema = Schema.of(hint)
    assert schema.faults(example_of(schema.json)) == []


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string"}, "example text"),
        ({"type": "integer"}, 1),
        ({"type": "number"}, 1.5),
        ({"type": "string", "examples": ["x"]}, "x"),
        ({"type": "string", "default": "y"}, "y"),
        ({"const": 3}, 3),
        ({"type": "object", "properties": {"a": {"type": "null"}, "b": {}}, "required": ["a"]}, {"a": None}),
        ({}, None),
        (True, None),
        ({"anyOf": [{"type": "null"}]}, None),
    ],
)
def test_examples(schema: Any, example: Any) -> None:
    assert example_of(schema) == example


def test_only_an_example_that_fits_is_shown() -> None:
    assert examples_by_type(Schema.of({"type": "string", "pattern": "^(a|b)+$"})) == {}
    assert examples_by_type(Schema.of({"type": "string", "format": "date"})) == {"by_type": {"value": "2026-01-31"}}
    assert examples_by_type(Schema.of({})) == {}
    assert text_of_pattern("^[0-9]{2}x?$") == "11"
    assert text_of_pattern("(a|b)") == "example text"


def test_the_document_shows_examples_by_type() -> None:
    @function
    def order(item: Item, note: str, on: date) -> Decimal:
        """Order."""
        return Decimal(1)

    with HTTPPortal() as http:
        http.apply(order)
        call = http.openapi()["paths"]["/api/order"]["post"]
    assert call["requestBody"]["content"]["application/json"]["examples"]["by_type"]["value"] == {
        "item": {"sku": "AAA-111", "quantity": 2, "day": "2026-01-31", "parts": []},
        "note": "example text",
        "on": "2026-01-31",
    }
    assert call["responses"]["200"]["content"]["application/json"]["examples"]["by_type"]["value"] == "9.90"
