"""Entity tags, and the lists of them in If-None-Match.

Source: RFC 9110 sections 8.8.3 and 13.1.2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

__all__ = ["entity_tag", "lists_weak_tag", "matches_tag", "not_modified_headers", "weak_tag"]

_TAG = re.compile(r"(?:W/)?(\"[\x21\x23-\x7e\x80-\xff]*\")")
_OF_CONTENT = frozenset(
    {"content-encoding", "content-language", "content-length", "content-range", "content-type", "last-modified"}
)
_ELEMENT = re.compile(rf"({_TAG.pattern})[ \t]*(?:,|\Z)")


def entity_tag(body: bytes) -> str:
    """Return the strong entity tag of a body, with its quotes."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def weak_tag(tag: str) -> str:
    """Return the weak form of a tag. It promises equal content, not equal bytes (RFC 9110 section 8.8.1)."""
    return tag if tag.startswith("W/") else f"W/{tag}"


def matches_tag(if_none_match: str | None, tag: str | None) -> bool:
    """Return whether If-None-Match matches the tag, by weak comparison (RFC 9110 section 8.8.3.2).

    `*` matches every tag. A malformed list matches none.

    Args:
        if_none_match: the value of the header, or None.
        tag: the tag of the representation, or None.
    """
    own = None if tag is None else _TAG.fullmatch(tag)
    if if_none_match is None or own is None:
        return False
    if if_none_match.strip(" \t") == "*":
        return True
    return any(opaque == own[1] for _, opaque in _elements(if_none_match))


def not_modified_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of a 304 response: those of the 200 without the ones that describe its content.

    Source: RFC 9110 section 15.4.5.
    """
    return [(name, value) for name, value in headers if name.lower() not in _OF_CONTENT]


def lists_weak_tag(if_none_match: str | None, tag: str) -> bool:
    """Return whether If-None-Match lists exactly the weak form of the tag."""
    weak = weak_tag(tag)
    return any(element == weak for element, _ in _elements(if_none_match or ""))


def _elements(text: str) -> list[tuple[str, str]]:
    """Return each tag of a list with its opaque part. Empty elements are skipped; a malformed list is empty."""
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        if text[position] in " \t,":
            position += 1
            continue
        element = _ELEMENT.match(text, position)
        if element is None:
            return []
        found.append((element[1], element[2]))
        position = element.end()
    return found
