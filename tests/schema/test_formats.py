"""Formats of text, and the native values behind them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.schema.formats import (
    FORMATS,
    duration_text,
    parse_base64,
    parse_date,
    parse_datetime,
    parse_decimal,
    parse_duration,
    parse_fraction,
    parse_ip,
    parse_time,
    parse_uuid,
)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_datetime, "2026-01-31t09:00:00z", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        (parse_date, "2026-01-31", date(2026, 1, 31)),
        (parse_time, "09:30:00", time(9, 30)),
        (parse_time, "09:30:00.5+01:00", time(9, 30, 0, 500_000, timezone(timedelta(hours=1)))),
        (parse_duration, "-P1DT90S", -timedelta(days=1, seconds=90)),
        (parse_duration, "P2W", timedelta(weeks=2)),
        (parse_decimal, "-1.50e3", Decimal("-1.50e3")),
        (parse_uuid, "00000000-0000-0000-0000-000000000005", UUID(int=5)),
    ],
)
def test_text_is_parsed(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_datetime, "2026-01-31T09:00:00", "must be an RFC 3339 date-time with an offset"),
        (parse_date, "20260131", "must be an RFC 3339 date"),
        (parse_time, "9:30", "must be an RFC 3339 time"),
        (parse_duration, "P1Y", "must be an ISO 8601 duration of weeks, or of days"),
        (parse_duration, "-P999999999DT1S", "less than 1,000,000,000 days"),
        (parse_decimal, "NaN", "must be a finite decimal number"),
        (parse_uuid, "5", "must be a UUID"),
    ],
)
def test_other_text_is_rejected(parse: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_a_value_that_is_not_text_has_every_format() -> None:
    assert all(has_format(3) for has_format in FORMATS.values())
    assert not any(has_format("x") for has_format in FORMATS.values())


@given(st.timedeltas())
def test_durations_round_trip_exactly(span: timedelta) -> None:
    assert parse_duration(duration_text(span)) == span


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_base64, "aGVsbG8=", b"hello"),
        (parse_base64, "", b""),
        (parse_fraction, "1/3", Fraction(1, 3)),
        (parse_fraction, "-0.5", Fraction(-1, 2)),
        (parse_fraction, "7", Fraction(7)),
        (parse_ip(IPv4Address), "10.0.0.1", IPv4Address("10.0.0.1")),
        (parse_ip(IPv6Network), "fe80::/10", IPv6Network("fe80::/10")),
    ],
)
def test_text_of_other_classes_is_parsed(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        *((parse_base64, text, "must be base64 text") for text in ("abc", "ab=c", "YWI", "YWI=\n", "\u00e9", "a_-=")),
        *((parse_fraction, text, "must be a fraction") for text in ("1e9", "1/0", "a", "1/-3", " 1", "0x1", "inf")),
        (parse_ip(IPv4Address), "::1", "must be an IPv4Address: "),
        (parse_ip(IPv4Address), "1.2.3", "must be an IPv4Address: "),
        (parse_ip(IPv6Network), "fe80::1/10", "must be an IPv6Network: "),
    ],
)
def test_other_text_is_rejected_in_plain_words(parse: Callable[[str], object], text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)
