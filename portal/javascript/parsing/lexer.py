"""Split JavaScript into tokens, as far as finding declarations, comments and module syntax needs it.

This is not a parser. It knows strings, templates, regular expressions, comments and brackets, so that a keyword in one
of them is not mistaken for code.

Source: ECMAScript 2023, section 12. Whether "/" begins a regular expression depends on the token before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Token", "code_tokens", "position", "tokens"]

_TOKEN = re.compile(
    r"""(?P<space>[\s\ufeff]+)
    |(?P<comment>//[^\n\r\u2028\u2029]*|/\*.*?(?:\*/|\Z)|\A\#![^\n\r]*)
    |(?P<word>[A-Za-z_$\u0080-\U0010ffff][\w$\u200c\u200d\u0080-\U0010ffff]*|\#[A-Za-z_$][\w$]*)
    |(?P<number>(?:0[xXoObB][\da-fA-F_]+|\.?\d(?:[\d_]|[eE][+-]?\d|\.\d|\.(?=\D|\Z))*)n?)
    |(?P<string>"(?:[^"\\\n]|\\.)*(?:"|\\?\Z|(?=\n))|'(?:[^'\\\n]|\\.)*(?:'|\\?\Z|(?=\n)))
    |(?P<sign>=>|\.\.\.|\?\.|[^\s\w])""",
    re.VERBOSE | re.DOTALL,
)
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[A-Za-z]*")
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*", re.DOTALL)
_MAX_TRIES = 50  # "/" without an end in one line, after which no regular expression is looked for in it
#: Words after which a "/" begins a regular expression.
_BEFORE_REGEX = frozenset(
    ("return", "typeof", "case", "in", "of", "do", "else", "void", "delete", "throw", "new", "instanceof", "yield")
)


class Token(NamedTuple):
    """A piece of source text.

    Attributes:
        kind: "comment", "word", "number", "string", "template", "regex" or "sign".
        text: the text.
        start: its index in the source.
        depth: how many brackets are open before it.
    """

    kind: str
    text: str
    start: int
    depth: int

    @property
    def end(self) -> int:
        """The index after the token."""
        return self.start + len(self.text)


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of a source with its comments. Broken text gives some tokens, never an exception."""
    at, depth = 0, 0
    before: Token | None = None
    templates: list[int] = []  # depth of the brackets around each open substitution
    tries, line_end = 0, -1  # how many regular expressions had no end in the line that ends there
    while at < len(source):
        if source[at] == "/" and not source.startswith(("//", "/*"), at) and _may_begin_regex(before):
            found = _REGEX.match(source, at) if tries < _MAX_TRIES or at > line_end else None
            if found is not None:
                before = Token("regex", found[0], at, depth)
                yield before
                at = found.end()
                continue
            if at > line_end:
                tries, line_end = 0, _end_of_line(source, at)
            tries += 1
        if source[at] == "`" or (source[at] == "}" and templates and templates[-1] == depth - 1):
            if source[at] == "}":
                templates.pop()
                depth -= 1
            body = _TEMPLATE.match(source, at + 1)
            end = len(source) if body is None else body.end()
            opens = source.startswith("${", end)
            end = min(len(source), end + (2 if opens else 1))
            before = Token("template", source[at:end], at, depth)
            yield before
            if opens:
                templates.append(depth)
                depth += 1
            at = end
            continue
        found = _TOKEN.match(source, at)
        if found is None:
            at += 1
            continue
        kind, text = found.lastgroup or "sign", found[0]
        if kind != "space":
            if text in ("}", ")", "]") and kind == "sign":
                depth = max(0, depth - 1)
            token = Token(kind, text, at, depth)
            if text in ("{", "(", "[") and kind == "sign":
                depth += 1
            if kind != "comment":
                before = token
            yield token
        at = found.end()


def code_tokens(source: str) -> list[Token]:
    """Return the tokens without comments."""
    return [token for token in tokens(source) if token.kind != "comment"]


def position(source: str, index: int) -> tuple[int, int]:
    """Return the line and column of an index, both from 1."""
    before = source[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _end_of_line(source: str, at: int) -> int:
    found = source.find("\n", at)
    return len(source) if found < 0 else found


def _may_begin_regex(before: Token | None) -> bool:
    if before is None:
        return True
    if before.kind == "word":
        return before.text in _BEFORE_REGEX
    return before.kind == "sign" and before.text not in (")", "]", "}")
