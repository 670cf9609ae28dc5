"""Checks: rules that JSON Schema cannot express, applied to native values on both ways.

JSON Schema has limits for numbers, and lengths for the characters of text. A Decimal, a date and bytes are text in
JSON: their limits and lengths are checked after decoding and before encoding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any
from uuid import UUID

from ..codecs import Codec
from ..codecs.codec import Unencodable, Violation
from ..codecs.scalars import SCALARS
from ..jsondata import shorten
from .rules import Rule, rejected

__all__ = [
    "TEXTUAL",
    "Check",
    "checked",
    "length_check",
    "limit_check",
    "number_limit",
    "predicate_check",
    "special_check",
]

#: Takes a native value; raises Violation if it breaks the rule.
Check = Callable[[Any], object]

#: Class of a value whose JSON form is text -> classes of the limits that it can be compared with.
_COMPARABLE: dict[type, tuple[type, ...]] = {
    Decimal: (int, float, Decimal),
    Fraction: (int, float, Fraction),
    datetime: (datetime,),
    date: (date,),
    time: (time,),
    timedelta: (timedelta,),
}
#: Digits from which on a number is written with an exponent.
_LONG_NUMBER = 30
#: Classes of values whose JSON form is text, and that are not text in Python.
TEXTUAL = frozenset(kind for kind, codec in SCALARS.items() if codec.json.get("type") == "string") - {str}
_COMPARISONS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "gt": ("must be greater than", lambda value, limit: bool(value > limit)),
    "ge": ("must be at least", lambda value, limit: bool(value >= limit)),
    "lt": ("must be less than", lambda value, limit: bool(value < limit)),
    "le": ("must be at most", lambda value, limit: bool(value <= limit)),
    "multiple_of": ("must be a multiple of", lambda value, limit: not value % limit),
}


def checked(codec: Codec, checks: list[Check]) -> Codec:
    """Return a codec that also applies checks: it decodes and encodes only values that pass."""
    if not checks:
        return codec
    decode, encode, native_types = codec.decode, codec.encode, codec.native_types

    def decode_checked(data: Any) -> Any:
        value = data if decode is None else decode(data)
        for check in checks:
            check(value)
        return value

    def encode_checked(value: Any) -> Any:
        if isinstance(value, native_types):
            try:
                for check in checks:
                    check(value)
            except Violation as error:
                return Unencodable(value, error.fault)
        return value if encode is None else encode(value)

    return dataclasses.replace(codec, decode=decode_checked, encode=encode_checked, structure=None)


def number_limit(rule: Rule, hint_name: str) -> int | float:
    """Return the limit of an int or a float as a number of JSON. Raises ConfigError for a limit of another class.

    A Decimal or Fraction becomes a number: typing keeps the first of two annotations that are equal, as Ge(1) and
    Ge(Decimal(1)) are.
    """
    limit = rule.value
    if type(limit) in (Decimal, Fraction) and isfinite(limit):
        return int(limit) if limit == int(limit) else float(limit)
    if type(limit) not in (int, float):
        raise rejected(rule.source, hint_name, "the limit of a number must be a number")
    return limit  # type: ignore[no-any-return]


def limit_check(kind: type, rule: Rule, hint_name: str) -> tuple[Check, Any] | None:
    """Return the check of a limit for values of a class, and the limit as JSON data; None for another class.

    Raises: ConfigError if values of the class cannot be compared with the limit.
    """
    limit, allowed = rule.value, _COMPARABLE.get(kind)
    if allowed is None:
        return None
    if not isinstance(limit, allowed) or isinstance(limit, bool) or (kind is date and isinstance(limit, datetime)):
        names = " or ".join(each.__name__ for each in allowed)
        raise rejected(rule.source, hint_name, f"a {kind.__name__} needs a limit of the class {names}")
    if isinstance(limit, datetime) and limit.utcoffset() is None:
        raise rejected(rule.source, hint_name, "a datetime in JSON has an offset, so the limit needs a time zone")
    if isinstance(limit, float | Decimal) and not isfinite(limit):
        raise rejected(rule.source, hint_name, "the limit must be finite")
    if isinstance(limit, float) or kind is Decimal:
        limit = kind(str(limit))
    if rule.name == "multiple_of" and (not limit or kind not in (Decimal, Fraction, timedelta)):
        raise rejected(rule.source, hint_name, f"a {kind.__name__} cannot be a multiple of {limit!r}")
    text = _text(kind, limit)
    words, holds = _COMPARISONS[rule.name]

    def check(value: Any) -> None:
        if not isinstance(value, kind) or (kind is date and isinstance(value, datetime)):
            return
        try:
            fits = holds(value, limit)
        except (TypeError, ArithmeticError) as error:  # a time with an offset and one without cannot be compared
            raise Violation(f"{words} {text}, and comparable with it: {error}", rule.name, text) from error
        if not fits:
            raise Violation(f"{words} {text}, got {shorten(value)}", rule.name, text)

    return check, text


def _text(kind: type, limit: Any) -> Any:
    """Return a limit as JSON data; equal limits give the same text."""
    if isinstance(limit, Decimal):
        limit = limit.normalize()
        return format(limit, "f") if abs(limit.adjusted()) < _LONG_NUMBER else str(limit)
    encode = SCALARS[kind].encode
    assert encode is not None  # none of these classes is JSON data
    return encode(kind(limit) if isinstance(limit, int) else limit)


def length_check(rule: Rule) -> Check:
    """Return the check of the number of bytes."""
    minimum, size = rule.name == "min_length", rule.value

    def check(value: Any) -> None:
        if isinstance(value, bytes | bytearray) and (len(value) < size if minimum else len(value) > size):
            words = "at least" if minimum else "at most"
            raise Violation(f"must have {words} {size} bytes, got {len(value)}", rule.name, size)

    return check


def predicate_check(test: Callable[[Any], object], name: str) -> Check:
    """Return the check of a predicate that a user wrote."""

    def check(value: Any) -> None:
        if not test(value):
            raise Violation(f"must satisfy the predicate {name}, got {shorten(value)}", "predicate", name)

    return check


def special_check(rule: Rule, kinds: tuple[type, ...], hint_name: str) -> Check:
    """Return the check of a rule for one class: time zone, digits or version of a UUID.

    Raises: ConfigError if the rule does not apply to the classes, or JSON cannot keep it.
    """
    if rule.name == "timezone":
        return _timezone_check(rule, kinds, hint_name)
    kind = UUID if rule.name == "uuid_version" else Decimal
    if kind not in kinds:
        raise rejected(rule.source, hint_name, f"it applies to {kind.__name__} only")
    expected = rule.value

    def check(value: Any) -> None:
        if isinstance(value, kind) and not _SPECIAL[rule.name](value, expected):
            raise Violation(f"must have the {rule.name} {expected}, got {shorten(value)}", rule.name, expected)

    return check


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _digits(value: Decimal) -> int:
    """Return the digits before and after the point, without leading zeros."""
    _, digits, exponent = value.as_tuple()
    return max(len(digits) + max(int(exponent), 0), _places(value))


_SPECIAL: dict[str, Callable[[Any, Any], bool]] = {
    "uuid_version": lambda value, expected: value.version == expected,
    "decimal_places": lambda value, expected: _places(value) <= expected,
    "max_digits": lambda value, expected: _digits(value) <= expected,
}


def _timezone_check(rule: Rule, kinds: tuple[type, ...], hint_name: str) -> Check:
    zone = UTC if rule.value == "UTC" else rule.value
    if datetime not in kinds and time not in kinds:
        raise rejected(rule.source, hint_name, "it applies to datetime and time only")
    if zone is None and datetime in kinds:
        raise rejected(rule.source, hint_name, "a datetime in JSON always has an offset")
    if zone is not None and zone is not ... and not isinstance(zone, timezone):
        raise rejected(rule.source, hint_name, "JSON has the offset of a time, and not the name of its zone")

    def check(value: Any) -> None:
        if not isinstance(value, datetime | time):
            return
        offset = value.utcoffset()
        if (offset is None) != (zone is None):
            raise Violation(
                f"must {'not ' if zone is None else ''}have an offset from UTC", "timezone", zone is not None
            )
        if isinstance(zone, timezone) and offset != zone.utcoffset(None):
            raise Violation(f"must have the offset {zone}, got {shorten(value)}", "timezone", str(zone))

    return check
