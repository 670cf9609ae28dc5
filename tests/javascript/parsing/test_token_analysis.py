from __future__ import annotations

import pytest

from portal.javascript.parsing.token_analysis import find_in_tokens


def rules(source: str) -> list[str]:
    return [one.rule for one in find_in_tokens(source, max_nesting=20, max_literal=100)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("while (1) { f() } g()", ["endless-loop"]),
        ("do { f() } while (true);", ["endless-loop"]),
        ("for (;;) { f() } for (;;) { break }", ["endless-loop"]),
        ("a.prototype.x ||= 1; a.__proto__ = b", ["prototype", "prototype"]),
        ("a.prototype.x === 1; x = a.prototype", []),
        ("a.constructor('x'); class A { constructor() {} }", ["constructor"]),
        ("for (;;", []),
        ("while (true", []),
        ("", []),
        ("((((((((((((((((((((((((1))))))))))))))))))))))))", ["nesting"]),
    ],
)
def test_what_is_found(source: str, found: list[str]) -> None:
    assert rules(source) == found


def test_the_place_of_what_is_found() -> None:
    (found,) = find_in_tokens("let a = 1; eval('x')", max_nesting=20, max_literal=100)
    assert found.place == 11
