"""Dates in headers, and Retry-After, which is a date or a number of seconds.

Source: RFC 9110 sections 5.6.7 and 10.2.3.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from math import ceil, isfinite
from time import time

__all__ = ["format_http_date", "format_retry_after", "parse_http_date", "parse_retry_after"]

_MAX_DATE = 64  # characters; every form of a date is shorter
_MAX_SECONDS = 9  # digits


def format_http_date(seconds: float) -> str:
    """Return seconds since 1970 as a date, such as "Sun, 06 Nov 1994 08:49:37 GMT"."""
    return formatdate(seconds, usegmt=True)


def parse_http_date(text: str) -> float | None:
    """Return a date as seconds since 1970; None for text that is not a date. A date without a time zone is in UTC."""
    if len(text) > _MAX_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def format_retry_after(seconds: float | None) -> str | None:
    """Return the value of Retry-After in whole seconds, at least 1; None if the delay is unknown."""
    return str(max(1, ceil(seconds))) if seconds is not None and isfinite(seconds) else None


def parse_retry_after(text: str | None, clock: Callable[[], float] = time) -> float | None:
    """Return the seconds to wait; None if the header is missing or malformed.

    Args:
        text: the value of the header: a number of seconds, a date, or None.
        clock: seconds since 1970.
    """
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _MAX_SECONDS:
        return float(text)
    moment = parse_http_date(text)
    return None if moment is None else max(0.0, moment - clock())
