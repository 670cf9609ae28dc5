"""The text formats that are asserted, and the native values behind them.

One Python function a format serves the accept check, the report and the decoder, so that they cannot disagree.
Sources: date-time, date and time RFC 3339 section 5.6 (an offset is optional in "time", since a time of day rarely has
one); duration ISO 8601 without years and months, whose length is not fixed; uuid RFC 9562 section 4; decimal is
Portal's own: a finite decimal number as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

__all__ = [
    "BUILTIN_FORMATS",
    "FORMATS",
    "duration_text",
    "parse_date",
    "parse_datetime",
    "parse_decimal",
    "parse_duration",
    "parse_time",
    "parse_uuid",
]

# hours are 00 to 23 in RFC 3339; `fromisoformat` takes 24:00:00 as well from CPython 3.14 on
_TIME = r"(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_OFFSET = r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_is_datetime = re.compile(f"{_DATE}[Tt]{_TIME}{_OFFSET}").fullmatch
_is_date = re.compile(_DATE).fullmatch
_is_time = re.compile(f"{_TIME}{_OFFSET}?").fullmatch
_is_decimal = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?").fullmatch
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_duration = re.compile(
    r"(-)?P(?=[0-9T])(?:(?:([0-9]{1,8})W)|(?:([0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,8})H)?(?:([0-9]{1,8})M)?(?:([0-9]{1,8})(?:\.([0-9]{1,6}))?S)?)?)"
).fullmatch


def parse_datetime(text: str) -> datetime:
    """An RFC 3339 date-time as an aware datetime; ValueError for anything else (second 60 among it)."""
    if _is_datetime(text) is None:
        raise ValueError("no RFC 3339 date-time")
    return datetime.fromisoformat(text.upper())


def parse_date(text: str) -> date:
    """An RFC 3339 full-date; ValueError for anything else."""
    if _is_date(text) is None:
        raise ValueError("no RFC 3339 date")
    return date.fromisoformat(text)


def parse_time(text: str) -> time:
    """An RFC 3339 time of day, with or without offset; ValueError for anything else."""
    if _is_time(text) is None:
        raise ValueError("no RFC 3339 time")
    return time.fromisoformat(text.upper())


def parse_decimal(text: str) -> Decimal:
    """A finite decimal number; ValueError for anything else."""
    if _is_decimal(text) is None:
        raise ValueError("no decimal number")
    return Decimal(text)


def parse_uuid(text: str) -> UUID:
    """A UUID in its canonical form of 36 characters; ValueError for anything else."""
    if _is_uuid(text) is None:
        raise ValueError("no UUID")
    return UUID(text)


def parse_duration(text: str) -> timedelta:
    """An ISO 8601 duration of weeks, or of days, hours, minutes and seconds; ValueError for anything else."""
    found = _duration(text)
    if found is None:
        raise ValueError("no ISO 8601 duration of weeks, days, hours, minutes and seconds")
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
        raise ValueError("a duration beyond what timedelta holds") from error


def duration_text(span: timedelta) -> str:
    """The ISO 8601 text that `parse_duration` reads back exactly: days, seconds and microseconds."""
    sign = "-" if span < timedelta(0) else ""
    # abs(timedelta.min) overflows, so the magnitude is taken of its microseconds instead
    micros = abs((span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds)
    days, rest = divmod(micros, 86_400_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    day_part = f"{days}D" if days else ""
    second_part = f"T{seconds}" + (f".{fraction:06d}".rstrip("0") if fraction else "") + "S"
    return f"{sign}P{day_part}{second_part if rest or not days else ''}"


def _checker(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if type(value) is not str:
            return True
        try:
            parse(value)
        except (ValueError, ArithmeticError):
            return False
        return True

    return check


#: Format name -> whether a value has it; values that are no text have every format (JSON Schema 2020-12, section 7).
FORMATS: dict[str, Callable[[Any], bool]] = {
    "date-time": _checker(parse_datetime),
    "date": _checker(parse_date),
    "time": _checker(parse_time),
    "duration": _checker(parse_duration),
    "uuid": _checker(parse_uuid),
    "decimal": _checker(parse_decimal),
}

#: Formats that jsonschema-rs would assert by its own rules; here they are annotations.
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
