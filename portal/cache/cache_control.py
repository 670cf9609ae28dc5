"""Cache directives: whether a response may be cached, and for how long.

Source: RFC 9111 sections 4.2 and 5.2.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..http11.dates import parse_http_date
from ..http11.fields import TOKEN

__all__ = ["Freshness", "freshness", "parse_cache_control"]

_DIRECTIVE = re.compile(
    rf"[ \t]*({TOKEN})"
    rf"(?:=(?:\"((?:[^\"\\]|\\.)*)\"|((?:{TOKEN})?)))?"  # a quoted string, a token or nothing
    r"[ \t]*(?:,|\Z)"
)
_QUOTED_PAIR = re.compile(r"\\(.)")
_MAX_TEXT = 4096  # characters of a Cache-Control header; a longer one is read as no-store
_MAX_SECONDS = 2**31  # larger numbers are read as this one (RFC 9111 section 1.2.2)


class Freshness(NamedTuple):
    """The cache directives of a response.

    Attributes:
        seconds: the time for which it may be used without a request. 0.0 means that each use needs a request; None
            means that the response sets no time.
        store: whether it may be cached.
    """

    seconds: float | None
    store: bool


def parse_cache_control(text: str) -> dict[str, str | None]:
    """Return the directives of a Cache-Control header by lower-case name, each with its argument or None.

    Malformed text is skipped up to the next comma. The first of repeated directives counts (RFC 9111 section
    4.2.1). Text of more than 4,096 characters is read as no-store.
    """
    if len(text) > _MAX_TEXT:
        return {"no-store": None}
    directives: dict[str, str | None] = {}
    position = 0
    while position < len(text):
        found = _DIRECTIVE.match(text, position)
        if found is None:
            comma = text.find(",", position)
            position = len(text) if comma < 0 else comma + 1
            continue
        position = found.end()
        name, quoted, token = found.groups()
        value = token if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        directives.setdefault(name.lower(), value)
    return directives


def freshness(headers: Mapping[str, str], clock: Callable[[], float] = time.time) -> Freshness:
    """Return how long a private cache may use a response with these headers.

    The time is `max-age`, or else `Expires` minus `Date`. The response's `Age` is subtracted from it. `s-maxage` is for
    shared caches and is ignored. `private` and `must-revalidate` have no effect here, because a stale response is never
    used without a request. An argument that is not a number of seconds means stale.

    Args:
        headers: by lower-case name.
        clock: seconds since 1970; used for `Expires` without `Date`.
    """
    directives = parse_cache_control(headers.get("cache-control", ""))
    if "no-store" in directives or "*" in headers.get("vary", ""):
        return Freshness(0.0, False)
    if "no-cache" in directives:
        return Freshness(0.0, True)
    if "max-age" in directives:
        lifetime: float | None = _seconds(directives["max-age"]) or 0.0
    else:
        lifetime = _lifetime_by_dates(headers, clock)
    if lifetime is None:
        return Freshness(None, True)
    return Freshness(max(0.0, lifetime - (_seconds(headers.get("age")) or 0.0)), True)


def _seconds(text: str | None) -> float | None:
    """Parse delta-seconds (RFC 9111 section 1.2.2); return None for other text."""
    text = "" if text is None else text.strip(" \t")
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return float(_MAX_SECONDS if len(digits) > 10 else min(int(digits), _MAX_SECONDS))


def _lifetime_by_dates(headers: Mapping[str, str], clock: Callable[[], float]) -> float | None:
    if "expires" not in headers:
        return None
    expires = parse_http_date(headers["expires"])
    if expires is None:  # an invalid date such as "0" means expired (section 5.3)
        return 0.0
    made = parse_http_date(headers.get("date", ""))
    return max(0.0, min(expires - (clock() if made is None else made), float(_MAX_SECONDS)))
