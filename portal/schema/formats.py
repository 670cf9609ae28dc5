"""The text formats that Portal validates, and the native values behind them.

The validator, the list of faults and the decoder use the same Python function for a format, so that they cannot differ.

Source: date-time, date and time RFC 3339 section 5.6, but "time" needs no offset, since few times of day have one;
duration ISO 8601 without years and months, whose length varies; uuid RFC 9562 section 4; decimal is Portal's own, a
finite decimal number as text.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

__all__ = [
    "BUILTIN_FORMATS",
    "EXAMPLES",
    "FORMATS",
    "duration_text",
    "lacks_time_zone",
    "parse_base64",
    "parse_date",
    "parse_datetime",
    "parse_decimal",
    "parse_duration",
    "parse_fraction",
    "parse_ip",
    "parse_time",
    "parse_uuid",
]

# RFC 3339 has hours from 00 to 23; `fromisoformat` also accepts 24:00:00 from CPython 3.14 on
_TIME = r"(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_OFFSET = r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_is_datetime = re.compile(f"{_DATE}[Tt]{_TIME}{_OFFSET}").fullmatch
_is_naive = re.compile(rf"{_DATE}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]+)?)?").fullmatch
_is_date = re.compile(_DATE).fullmatch
_is_time = re.compile(f"{_TIME}{_OFFSET}?").fullmatch
_is_decimal = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?").fullmatch
_is_fraction = re.compile(r"[+-]?[0-9]{1,4000}(?:/[0-9]{1,4000}|\.[0-9]{1,4000})?").fullmatch
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_match_duration = re.compile(
    r"(-)?P(?=[0-9T])(?:(?:([0-9]{1,8})W)|(?:([0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,8})H)?(?:([0-9]{1,8})M)?(?:([0-9]{1,8})(?:\.([0-9]{1,6}))?S)?)?)"
).fullmatch


def parse_datetime(text: str) -> datetime:
    """Return an RFC 3339 date-time as an aware datetime.

    Raises: ValueError for other text, and for second 60, which a datetime cannot hold.
    """
    if _is_datetime(text) is None:
        raise ValueError("must be an RFC 3339 date-time with an offset, such as 2026-01-31T09:00:00Z")
    return datetime.fromisoformat(text.upper())


def parse_date(text: str) -> date:
    """Return an RFC 3339 full-date as a date. Raises ValueError for other text."""
    if _is_date(text) is None:
        raise ValueError("must be an RFC 3339 date, such as 2026-01-31")
    return date.fromisoformat(text)


def parse_time(text: str) -> time:
    """Return an RFC 3339 time of day, with or without offset, as a time. Raises ValueError for other text."""
    if _is_time(text) is None:
        raise ValueError("must be an RFC 3339 time, such as 09:30:00")
    return time.fromisoformat(text.upper())


def parse_decimal(text: str) -> Decimal:
    """Return a finite decimal number as a Decimal. Raises ValueError for other text."""
    if _is_decimal(text) is None:
        raise ValueError("must be a finite decimal number, such as 1.50")
    return Decimal(text)


def parse_uuid(text: str) -> UUID:
    """Return the canonical form of a UUID, 36 characters, as a UUID. Raises ValueError for other text."""
    if _is_uuid(text) is None:
        raise ValueError("must be a UUID of 32 hex digits and 4 hyphens")
    return UUID(text)


def parse_duration(text: str) -> timedelta:
    """Return an ISO 8601 duration as a timedelta.

    Raises: ValueError for other text, for years and months, and for more than a timedelta can hold.
    """
    found = _match_duration(text)
    if found is None:
        raise ValueError("must be an ISO 8601 duration of weeks, or of days, hours, minutes and seconds, such as PT90S")
    sign, weeks, days, hours, minutes, seconds, fraction = found.groups()
    try:
        span = timedelta(
            weeks=int(weeks or 0),
            days=int(days or 0),
            hours=int(hours or 0),
            minutes=int(minutes or 0),
            seconds=int(seconds or 0),
            microseconds=int((fraction or "0").ljust(6, "0")),
        )
        return -span if sign else span
    except OverflowError as error:
        raise ValueError("must be a duration of less than 1,000,000,000 days") from error


def duration_text(span: timedelta) -> str:
    """Return the ISO 8601 text that `parse_duration` reads back exactly: days, seconds and microseconds."""
    sign = "-" if span < timedelta(0) else ""
    # abs(timedelta.min) overflows, so this takes the magnitude of the microseconds
    micros = abs((span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds)
    days, rest = divmod(micros, 86_400_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    day_part = f"{days}D" if days else ""
    second_part = f"T{seconds}" + (f".{fraction:06d}".rstrip("0") if fraction else "") + "S"
    return f"{sign}P{day_part}{second_part if rest or not days else ''}"


def lacks_time_zone(text: str) -> bool:
    """Return whether text would be a date-time if it had an offset, as ISO 8601 text of a naive datetime would."""
    return _is_naive(text) is not None


def parse_base64(text: str) -> bytes:
    """Return the bytes of base64 text with padding (RFC 4648, section 4). Raises ValueError for other text."""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise ValueError("must be base64 text of whole groups of 4 characters, such as aGVsbG8=") from None


def parse_fraction(text: str) -> Fraction:
    """Return an integer, a quotient of integers or a decimal number as a Fraction. Raises ValueError for other text."""
    # an exponent is left out: 1e999999999 would be a number of a billion digits
    if _is_fraction(text) is None:
        raise ValueError("must be a fraction, such as 1/3")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise ValueError("must be a fraction with a denominator other than 0") from None


def parse_ip(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the parser of a class of the module ipaddress. It raises ValueError for other text."""

    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ValueError as error:
            name = getattr(kind, "__name__", "IP address")
            raise ValueError(f"must be an {name}: {error}") from None

    return parse


def _format_test(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def has_format(value: Any) -> bool:
        if type(value) is not str:
            return True
        try:
            parse(value)
        except (ValueError, ArithmeticError):
            return False
        return True

    return has_format


#: Format name -> whether a value has it. Values that are not text have every format.
#: Source: JSON Schema 2020-12 Validation, section 7.
FORMATS: dict[str, Callable[[Any], bool]] = {
    "date-time": _format_test(parse_datetime),
    "date": _format_test(parse_date),
    "time": _format_test(parse_time),
    "duration": _format_test(parse_duration),
    "uuid": _format_test(parse_uuid),
    "decimal": _format_test(parse_decimal),
}

#: Format name -> a value that has it, for documents and messages.
EXAMPLES = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00",
    "duration": "PT1H30M",
    "uuid": "3f2a9c51-7d41-4c0e-9b1a-2e6c8f0d4b57",
    "decimal": "9.90",
    "fraction": "1/3",
    "path": "folder/file.txt",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "ipv4network": "192.0.2.0/24",
    "ipv6network": "2001:db8::/32",
    "ipv4interface": "192.0.2.1/24",
    "ipv6interface": "2001:db8::1/32",
    "email": "ann@example.com",
    "uri": "https://example.com/",
}

#: Formats that jsonschema-rs would validate by its own rules; Portal treats them as annotations.
BUILTIN_FORMATS = [
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
]
