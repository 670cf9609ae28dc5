from __future__ import annotations

from typing import Any

import pytest

from portal.testing import ANY, any_of, approx, having, matching, where
from portal.testing.matchers import Matcher, params_match


def is_even(value: Any) -> bool:
    return bool(value % 2 == 0)


@pytest.mark.parametrize(
    ("matcher", "matched", "others"),
    [
        (ANY, [None, 1, "x", [1]], []),
        (any_of(int, "x"), [1, -5, "x"], [True, 1.5, "y", None]),
        (any_of(float), [1, 1.5], [True, "1"]),
        (any_of(bool), [True, False], [0, 1]),
        (any_of(type(None)), [None], [0, ""]),
        (any_of(object), [True, 1, None], []),
        (any_of(), [], [None, 1]),
        (matching("^ex.*d$"), ["expired", "exd"], ["unexpired!", "", 7, None]),
        (matching("pi"), ["expired"], ["exired"]),
        (approx(0.3), [0.1 + 0.2, 0.3], [0.31, True, "0.3", None]),
        (approx(1), [1, 1.0], [True]),
        (approx(100, relative=0.1), [95, 109], [80]),
        (approx(0, absolute=0.5), [0.4], [0.6]),
        (having(a=1, b=any_of(str)), [{"a": 1, "b": "x"}, {"a": 1, "b": "x", "c": 2}], [{"a": 1}, {"a": 1, "b": 2}, 7]),
        (where(is_even), [2, 0], [1, "x", None]),
    ],
)
def test_matched_values_are_equal(matcher: Matcher, matched: list[Any], others: list[Any]) -> None:
    for value in matched:
        assert matcher == value
        assert value == matcher
        assert [value] == [matcher]
    for value in others:
        assert matcher != value
        assert value != matcher


@pytest.mark.parametrize(
    ("matcher", "text"),
    [
        (ANY, "ANY"),
        (any_of(int, "x"), "any_of(int, 'x')"),
        (matching("^a"), "matching('^a')"),
        (approx(0.3), "approx(0.3)"),
        (having(a=1, b=ANY), "having(a=1, b=ANY)"),
        (where(is_even), "where(is_even)"),
        (where(is_even, "even"), "where(even)"),
    ],
)
def test_the_repr_describes_the_values(matcher: Matcher, text: str) -> None:
    assert repr(matcher) == text


def test_a_matcher_is_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(ANY)


@pytest.mark.parametrize(
    ("wanted", "params", "matches"),
    [
        ({}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": None}, {}, False),
        ({"a": ANY}, {"a": None}, True),
        ({}, [1], True),
        ({"a": 1}, [1], False),
    ],
)
def test_wanted_parameters_match(wanted: dict[str, Any], params: Any, matches: bool) -> None:
    assert params_match(wanted, params) is matches
