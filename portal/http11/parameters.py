"""Lists of elements with parameters, such as `Sec-WebSocket-Extensions: a; x=1; y="2", b`.

Source: RFC 9110 sections 5.6.1, 5.6.4 and 5.6.6.
"""

from __future__ import annotations

import re

from ..errors import ProtocolError
from .fields import TOKEN

__all__ = ["Element", "parse_elements"]

Element = tuple[str, list[tuple[str, str | None]]]
"""A name and its parameters in order. The value of a parameter without "=" is None."""

_SPACE = r"[ \t]*"
_QUOTED = r'"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)"'
_NAME = re.compile(rf"{_SPACE}({TOKEN}){_SPACE}")
_PARAMETER = re.compile(rf";{_SPACE}({TOKEN})(?:{_SPACE}={_SPACE}(?:({TOKEN})|{_QUOTED}))?{_SPACE}")
_EMPTY = re.compile(rf"{_SPACE}(?:,{_SPACE})*")


def parse_elements(text: str) -> list[Element]:
    """Return the elements of a list with their parameters. Empty elements are dropped.

    Raises: ProtocolError for text that is not such a list.
    """
    found: list[Element] = []
    at = _skip_empty(text, 0)
    while at < len(text):
        name = _NAME.match(text, at)
        if name is None:
            raise _malformed(text)
        at = name.end()
        parameters: list[tuple[str, str | None]] = []
        while (part := _PARAMETER.match(text, at)) is not None:
            quoted = part[3]
            parameters.append((part[1], re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else part[2]))
            at = part.end()
        found.append((name[1], parameters))
        if at < len(text) and text[at] != ",":
            raise _malformed(text)
        at = _skip_empty(text, at)
    return found


def _skip_empty(text: str, at: int) -> int:
    match = _EMPTY.match(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()


def _malformed(text: str) -> ProtocolError:
    return ProtocolError(f"a list of names with parameters was expected, got {text[:80]!r}")
