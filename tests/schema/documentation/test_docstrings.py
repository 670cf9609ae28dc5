"""Descriptions of parameters in docstrings."""

from __future__ import annotations

import functools
import inspect
from typing import Annotated, TypedDict, Unpack

import pytest

from portal import function
from portal.schema import Description
from portal.schema.documentation.docstrings import docstring_of, parameter_descriptions, without_parameters

GOOGLE = """Price an order.

Args:
    sku: the article,
        such as PEN-001.
    quantity (int, optional): how many: one or more.
    *rest, **options: what remains
    silent:

Returns:
    The price.
"""
NUMPY = """Price an order.

Parameters
----------
sku : str
    The article,
    such as PEN-001.

quantity, number : int, optional
    How many.
silent

Returns
-------
Decimal
    The price.
"""


def test_google_style() -> None:
    assert parameter_descriptions(GOOGLE) == {
        "sku": "the article, such as PEN-001.",
        "quantity": "how many: one or more.",
        "rest": "what remains",
        "options": "what remains",
    }
    assert without_parameters(GOOGLE) == "Price an order.\n\nReturns:\n    The price."


def test_numpy_style() -> None:
    assert parameter_descriptions(NUMPY) == {
        "sku": "The article, such as PEN-001.",
        "quantity": "How many.",
        "number": "How many.",
    }
    assert without_parameters(NUMPY) == "Price an order.\n\nReturns\n-------\nDecimal\n    The price."


@pytest.mark.parametrize(
    "text",
    ["", "Add.", "Add.\n\nArgs: none", "Args:", "Add.\n\nArgs:\nnot indented: text", "Parameters\n--\na : int\n  A."],
)
def test_other_text_has_no_descriptions(text: str) -> None:
    assert parameter_descriptions(text) == {}
    assert without_parameters(text) == text


def test_a_section_at_the_end() -> None:
    assert parameter_descriptions("Args:\n  a: one") == {"a": "one"}
    assert without_parameters("Args:\n  a: one") == ""
    assert parameter_descriptions("Parameters\n----------\na\n  one") == {"a": "one"}


def test_the_docstring_of_a_partial_is_that_of_its_function() -> None:
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    assert docstring_of(functools.partial(add, 1)) == "Add."
    assert docstring_of(lambda: None) == ""


class Options(TypedDict, total=False):
    """Options."""

    limit: int


def test_descriptions_are_in_the_schema_and_not_in_the_fingerprint() -> None:
    def search(text: str, day: Annotated[str, Description("A weekday.")] = "monday", **options: Unpack[Options]) -> str:
        """Search.

        Args:
            text: what to look for.
            day: ignored, as the hint has words.
            limit: the most results.
            unknown: not a parameter.
        """
        return text

    made = function(search)
    properties = made.schema.input["properties"]
    assert {name: part["description"] for name, part in properties.items()} == {
        "text": "what to look for.",
        "day": "A weekday.",
        "limit": "the most results.",
    }
    assert made.schema.description == "Search."
    assert made.__doc__ == inspect.getdoc(search)
    search.__doc__ = "Search.\n\nArgs:\n    text: other words."
    assert function(search).schema.fingerprint == made.schema.fingerprint
    assert function(search).schema.input != made.schema.input
