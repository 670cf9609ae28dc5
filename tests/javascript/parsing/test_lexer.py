from __future__ import annotations

import pytest

from portal.javascript.parsing.lexer import code_tokens, position, tokens


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = /[/}]+/g.test(b)", ["a", "=", "/[/}]+/g", ".", "test", "(", "b", ")"]),
        ("a / b / c", ["a", "/", "b", "/", "c"]),
        ("return /x/", ["return", "/x/"]),
        ("(a) / 2 // c", ["(", "a", ")", "/", "2"]),
        ("`a${b + `c${d}`}e`", ["`a${", "b", "+", "`c${", "d", "}`", "}e`"]),
        ("`}`; x", ["`}`", ";", "x"]),
        ("'it\\'s' + \"\\\"\"", ["'it\\'s'", "+", '"\\""']),
        ("x => ({...y})", ["x", "=>", "(", "{", "...", "y", "}", ")"]),
        ("a?.b", ["a", "?.", "b"]),
        ("0x1F + 1_000n + .5e3", ["0x1F", "+", "1_000n", "+", ".5e3"]),
        ("#private in o", ["#private", "in", "o"]),
        ("/* } */ f", ["f"]),
        ("caf\u00e9 = 1", ["caf\u00e9", "=", "1"]),
    ],
)
def test_tokens(source: str, expected: list[str]) -> None:
    assert [token.text for token in code_tokens(source)] == expected


def test_brackets_are_counted() -> None:
    depths = {token.text: token.depth for token in code_tokens("a({b: [c]}); d")}
    assert depths == {"a": 0, "(": 0, "{": 1, "b": 2, ":": 2, "[": 2, "c": 3, "]": 2, "}": 1, ")": 0, ";": 0, "d": 0}
    assert code_tokens("`${{a: 1}}`; b")[-1].depth == 0


def test_the_tokens_are_pieces_of_the_source() -> None:
    source = "function f(a, b = `x${a}`) { // sum\n  return a / b; /* end */ }"
    found = list(tokens(source))
    assert [source[token.start : token.end] for token in found] == [token.text for token in found]
    assert [token.text for token in found if token.kind == "comment"] == ["// sum", "/* end */"]


@pytest.mark.parametrize(
    "source", ["'open", '"open\n', "`open ${", "/* open", "}}})", "/[", "\\", "\ud800", "`${`", "#"]
)
def test_broken_text_ends(source: str) -> None:
    assert len(list(tokens(source))) <= len(source)


def test_positions_count_from_one() -> None:
    assert position("a\nbc", 0) == (1, 1)
    assert position("a\nbc", 3) == (2, 2)


@pytest.mark.parametrize("unit", ["=/[", '"\\', "=/\\", "'a", "`${", "/*", "\n=/["])
def test_long_broken_text_is_read_to_its_end(unit: str) -> None:
    source = unit * 60_000  # minutes, if the time grew with the square of the length
    last = list(tokens(source))[-1]
    assert last.start + len(last.text) == len(source)


def test_a_quotient_after_many_that_look_like_regular_expressions() -> None:
    source = "x++ / [\n" * 3 + "y = /'/.test(s) // it's"
    assert code_tokens(source)[-4].text == "test"
    assert [token.text for token in code_tokens(source) if token.kind == "regex"] == ["/'/"]
