"""Look at the tokens of a source where no parser is installed. It finds what the parser finds, but for wrong syntax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .lexer import Token, code_tokens

__all__ = ["Found", "find_in_tokens"]

_ENDLESS = (("for", "(", ";", ";", ")"), ("while", "(", "true", ")"), ("while", "(", "1", ")"))
_LEAVING = frozenset(("break", "return", "throw", "yield", "await"))
_OPERATORS = frozenset("+-*/%&|^?")
_CALLS = {"eval": "eval", "Function": "Function", "import": "dynamic-import"}


_MAX_STEPS = 500_000  # tokens that are looked at for endless loops in one source; other loops are not
_MAX_CHAIN = 100  # tokens of the target of an assignment


class Found(NamedTuple):
    """A finding: the rule, and the place in the source."""

    rule: str
    place: int


def find_in_tokens(source: str, *, max_nesting: int, max_literal: int) -> Iterator[Found]:
    """Yield what is dangerous in a source.

    Args:
        source: the code.
        max_nesting: brackets inside of each other.
        max_literal: characters of one literal.
    """
    code = code_tokens(source)
    loops = _Loops(code)
    too_deep = False
    for index, token in enumerate(code):
        before, after = _text(code, index - 1), _text(code, index + 1)
        if token.depth > max_nesting and not too_deep:
            too_deep = True
            yield Found("nesting", token.start)
        if token.kind in ("string", "template", "regex", "number") and len(token.text) > max_literal:
            yield Found("literal", token.start)
        if token.kind == "regex":
            yield Found("regex", token.start)
        if token.kind != "word":
            continue
        is_member = before in (".", "?.")
        if token.text in _CALLS and after == "(" and not is_member:
            yield Found(_CALLS[token.text], token.start)
        elif token.text == "constructor" and is_member and after == "(":
            yield Found("constructor", token.start)
        elif token.text == "with" and after == "(" and not is_member:
            yield Found("with", token.start)
        elif token.text in ("prototype", "__proto__") and is_member and _is_assigned(code, index):
            yield Found("prototype", token.start)
        elif token.text in ("for", "while") and not is_member and loops.is_endless(index):
            yield Found("endless-loop", token.start)


def _text(code: list[Token], index: int) -> str:
    return code[index].text if 0 <= index < len(code) else ""


def _is_assigned(code: list[Token], index: int) -> bool:
    """Return whether a member expression that goes on at a token is the target of an assignment."""
    at = index + 1
    while at - index < _MAX_CHAIN and (_text(code, at) == "." or _text(code, at - 1) == "."):
        at += 1
    while _text(code, at) in _OPERATORS:
        at += 1
    return _text(code, at) == "=" and _text(code, at + 1) != "="


class _Loops:
    """Finds endless loops among tokens, as far as the steps last."""

    def __init__(self, code: list[Token]) -> None:
        self._code = code
        self._steps = _MAX_STEPS

    def is_endless(self, index: int) -> bool:
        code = self._code
        if not any(tuple(_text(code, index + at) for at in range(len(words))) == words for words in _ENDLESS):
            return False
        close = next(at for at in range(index, len(code)) if code[at].text == ")")
        body = self._body(index, close)
        return self._steps > 0 and not any(token.kind == "word" and token.text in _LEAVING for token in body)

    def _body(self, index: int, close: int) -> list[Token]:
        """Return the tokens of the body of a loop: after its condition, or from `do` to it."""
        code, depth = self._code, self._code[index].depth
        found: list[Token] = []
        if _text(code, close + 1) in ("", ";", "}"):
            at = index
            while at >= 0 and self._steps > 0 and not (code[at].text == "do" and code[at].depth == depth):
                self._steps -= 1
                at -= 1
            return code[at:index] if at >= 0 else found
        for at in range(close + 1, len(code)):
            self._steps -= 1
            token = code[at]
            if self._steps <= 0 or (token.depth <= depth and token.text in ("}", ";")):
                break
            found.append(token)
            if token.depth == depth + 1 and token.text == "}":
                break
        return found
