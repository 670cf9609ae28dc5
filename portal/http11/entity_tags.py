"""Entity tags and the lists of them in If-None-Match (RFC 9110 sections 8.8.3 and 13.1.2)."""

from __future__ import annotations

import hashlib
import re

__all__ = ["entity_tag", "lists_weak_tag", "matches_tag", "weak_tag"]

_TAG = re.compile(r"(?:W/)?(\"[\x21\x23-\x7e\x80-\xff]*\")")
_ELEMENT = re.compile(rf"({_TAG.pattern})[ \t]*(?:,|\Z)")


def entity_tag(body: bytes) -> str:
    """Return a strong entity tag of exactly these bytes, with its quotes."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def weak_tag(tag: str) -> str:
    """Return the weak form of a tag: same meaning, not the same bytes (RFC 9110 section 8.8.1)."""
    return tag if tag.startswith("W/") else f"W/{tag}"


def matches_tag(if_none_match: str | None, tag: str | None) -> bool:
    """Return whether If-None-Match names the tag, by weak comparison (RFC 9110 section 8.8.3.2).

    `*` names every tag. A list that is malformed anywhere names none.

    Args:
        if_none_match: the header's value, or None.
        tag: of the representation, or None when it has none.
    """
    own = None if tag is None else _TAG.fullmatch(tag)
    if if_none_match is None or own is None:
        return False
    if if_none_match.strip(" \t") == "*":
        return True
    return any(opaque == own[1] for _, opaque in _elements(if_none_match))


def lists_weak_tag(if_none_match: str | None, tag: str) -> bool:
    """Return whether If-None-Match lists the weak form of the tag itself."""
    weak = weak_tag(tag)
    return any(element == weak for element, _ in _elements(if_none_match or ""))


def _elements(text: str) -> list[tuple[str, str]]:
    """Return each tag of a list and its opaque part; empty elements are allowed, a malformed list gives none."""
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
