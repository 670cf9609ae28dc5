"""The grammar of header fields: tokens, values, lists, quality values, and Portal's own ids.

Source: RFC 9110 section 5.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from ..errors import ProtocolError

__all__ = [
    "FIELD_VALUE",
    "MAX_IDEMPOTENCY_KEY",
    "REQUEST_ID",
    "TOKEN",
    "VISIBLE",
    "is_field_content",
    "is_field_value",
    "is_idempotency_key",
    "is_request_id",
    "is_timeout",
    "is_token",
    "is_visible",
    "parse_field_line",
    "quality_values",
    "split_list",
]

#: A token (RFC 9110 section 5.6.2): a method, or the name of a header or parameter.
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
#: The value of a header with the blanks around it (RFC 9110 section 5.5). The tab is the only control character in it.
FIELD_VALUE = r"[^\x00-\x08\x0a-\x1f\x7f]*"
#: Visible ASCII characters, without blanks and control characters.
VISIBLE = r"[\x21-\x7e]+"
#: A request id: 1 to 128 visible ASCII characters.
REQUEST_ID = r"[\x21-\x7e]{1,128}"
MAX_IDEMPOTENCY_KEY = 255  # characters

# Bound methods of patterns, so that a call needs no Python frame. Each takes a text and returns a match or None.
is_token: Callable[[str], re.Match[str] | None] = re.compile(TOKEN).fullmatch
is_field_value: Callable[[str], re.Match[str] | None] = re.compile(FIELD_VALUE).fullmatch
is_field_content: Callable[[str], re.Match[str] | None] = re.compile(  # not empty, no blank at either end
    r"[\x21-\x7e\xa0-\xff](?:[\t\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?"
).fullmatch
is_visible: Callable[[str], re.Match[str] | None] = re.compile(VISIBLE).fullmatch
is_request_id: Callable[[str], re.Match[str] | None] = re.compile(REQUEST_ID).fullmatch
is_idempotency_key: Callable[[str], re.Match[str] | None] = re.compile(
    rf"[\x21-\x7e]{{1,{MAX_IDEMPOTENCY_KEY}}}"
).fullmatch

is_timeout: Callable[[str], re.Match[str] | None] = re.compile("[0-9]{1,10}").fullmatch  # milliseconds

# The groups match different characters. Otherwise backtracking over long runs of blanks would take cubic time.
_FIELD_LINE = re.compile(rf"({TOKEN}):({FIELD_VALUE})".encode())
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")  # RFC 9110 section 12.4.2
_CACHED_LINE = 256  # bytes; longer lines are not cached


def parse_field_line(line: bytes) -> tuple[str, str]:
    """Return the lower-case name and the value of a header line.

    Args:
        line: the line without its line break.

    Raises: ProtocolError for a malformed line.
    """
    return (_cached_field_line if len(line) <= _CACHED_LINE else _parse_field_line)(line)


def _parse_field_line(line: bytes) -> tuple[str, str]:
    found = _FIELD_LINE.fullmatch(line)
    if found is None:
        raise ProtocolError(f"malformed header line: {line[:80]!r}")
    return found[1].decode("ascii").lower(), found[2].strip(b" \t").decode("latin-1")


_cached_field_line = lru_cache(maxsize=512)(_parse_field_line)  # most lines repeat


def split_list(text: str) -> list[str]:
    """Return the elements of a comma-separated list without the blanks around them. Empty elements are dropped."""
    return [element for part in text.split(",") if (element := part.strip(" \t"))]


def quality_values(text: str) -> Iterator[tuple[str, float | None]]:
    """Yield each element of a header such as Accept or Accept-Encoding in lower case, with its weight.

    The weight is 1.0 if the element has none, and None if it is malformed. Other parameters are dropped.

    Source: RFC 9110 section 12.4.2.
    """
    for element in split_list(text.lower()):
        name, *parameters = (piece.strip(" \t") for piece in element.split(";"))
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        if name:
            yield name, float(weight) if _WEIGHT.fullmatch(weight) else None
