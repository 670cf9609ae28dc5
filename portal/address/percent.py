"""Percent-encoding: parts of an address from text and to text, in normal form.

Source: RFC 3986 sections 2.1 and 3.3 to 3.5. The "+" of a query is written %2B, because form decoders on the way would
read it as a space.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_to_bytes

from ..errors import AddressError
from .grammar import reject

__all__ = [
    "SEGMENT_SAFE",
    "append_tail",
    "encode",
    "encode_path",
    "normalize_path",
    "normalize_segment",
    "normalize_tail",
    "parse_query",
]

#: What a segment may hold as it is, beside letters, digits and "-._~".
SEGMENT_SAFE = "!$&'()*+,;=:@"
_TAIL_SAFE = "!$'()*,;:@/?"
_SEGMENT_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+|[^A-Za-z0-9._~!$&'()*+,;=:@/%\-]+")
_TAIL_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+|[^A-Za-z0-9._~!$&'()*,;=:@/?%\-]+")


def encode(text: str, safe: str = "") -> str:
    """Percent-encode decoded text. Raises AddressError for a lone surrogate."""
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError as error:
        raise AddressError(
            f"{text!r} has a lone surrogate at position {error.start}", reason="lone surrogate", position=error.start
        ) from None


def encode_path(segments: tuple[str, ...]) -> str:
    """Return the path of decoded segments. Raises AddressError for an empty or a dot segment."""
    for segment in segments:
        if segment in ("", ".", ".."):
            raise AddressError(f"a segment of a path must not be {segment!r}", reason="empty or dot segment")
    return "/" + "/".join(encode(segment, SEGMENT_SAFE) for segment in segments)


def append_tail(text: str, pairs: list[tuple[str, str]], fragment: str) -> str:
    """Return the text with a query of decoded pairs and a decoded fragment."""
    query = "&".join(f"{encode(name, _TAIL_SAFE)}={encode(value, _TAIL_SAFE + '=')}" for name, value in pairs)
    return text + (f"?{query}" if query else "") + (f"#{encode(fragment, SEGMENT_SAFE + '/?')}" if fragment else "")


def normalize_segment(text: str, part: str, start: int) -> str:
    """Return a part of a path, or a host, in normal form.

    Args:
        text: the whole address, for the error.
        part: the part as it stands there.
        start: index of the part in the text.

    Raises: AddressError for percent-encoding that is not UTF-8.
    """
    return _normalize(text, part, start, _SEGMENT_ESCAPE)


def normalize_tail(text: str, part: str, start: int) -> str:
    """Return a query or a fragment in normal form; the arguments are those of `normalize_segment`."""
    return _normalize(text, part, start, _TAIL_ESCAPE)


def _normalize(text: str, part: str, start: int, escape: re.Pattern[str]) -> str:
    def encoded(found: re.Match[str]) -> str:
        try:
            return quote(unquote_to_bytes(found[0]).decode(), safe="")
        except UnicodeDecodeError as error:
            reject(text, start + found.start() + 3 * error.start, "percent-encoding that is not UTF-8")

    return escape.sub(encoded, part) if part else part


def normalize_path(text: str, path: str, start: int) -> str:
    """Return a path in normal form, without dot segments; "/" for an empty one.

    Raises: AddressError for an empty segment, or percent-encoding that is not UTF-8.
    """
    if "//" in path:
        reject(text, start + path.index("//") + 1, "empty segment")
    path = normalize_segment(text, path, start)
    if "/." not in path:
        return path or "/"
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def parse_query(query: str) -> tuple[tuple[str, str], ...]:
    """Return the decoded (name, value) pairs of a query, in order."""
    cut = (piece.partition("=") for piece in query.split("&") if piece)
    return tuple((unquote(name), unquote(value)) for name, _, value in cut)
