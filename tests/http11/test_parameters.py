"""Lists of elements with parameters."""

from __future__ import annotations

import pytest

from portal.errors import ProtocolError
from portal.http11.parameters import Element, parse_elements


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", []),
        (" , ,\t,", []),
        ("a", [("a", [])]),
        ("a, b", [("a", []), ("b", [])]),
        (",a,,b,", [("a", []), ("b", [])]),
        ("a;x", [("a", [("x", None)])]),
        ("a ; x = 1;y=2", [("a", [("x", "1"), ("y", "2")])]),
        ('a; x="1, 2; 3", b', [("a", [("x", "1, 2; 3")]), ("b", [])]),
        (r'a; x="say \"hi\" \\"', [("a", [("x", r'say "hi" \ '.strip())])]),
        ('a; x=""', [("a", [("x", "")])]),
        ("a; x=1; x=2", [("a", [("x", "1"), ("x", "2")])]),
    ],
)
def test_the_elements_of_a_list(text: str, elements: list[Element]) -> None:
    assert parse_elements(text) == elements


@pytest.mark.parametrize("text", ["a b", "a;", "a;x=", 'a;x="1', "a;=1", ";x", "a=1", "(a)", 'a; x="1"2', "a\x00"])
def test_other_text_is_rejected(text: str) -> None:
    with pytest.raises(ProtocolError, match="a list of names with parameters was expected"):
        parse_elements(text)


@pytest.mark.parametrize(
    "text", ["a;" * 40_000, " \t" * 40_000 + "!(", 'a;x="' + "\\" * 40_000, "a;x=1" * 20_000 + "="]
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    """A run of blanks or escapes must not make the patterns backtrack; quadratic time would take minutes."""
    with pytest.raises(ProtocolError):
        parse_elements(text)
