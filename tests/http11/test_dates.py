from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.http11.dates import format_http_date, format_retry_after, parse_http_date, parse_retry_after

NOW = 784111777


def test_a_formatted_date_is_parsed() -> None:
    text = format_http_date(NOW)
    assert text == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert parse_http_date(text) == NOW


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sunday, 06-Nov-94 08:49:37 GMT", NOW),  # RFC 850
        ("Sun Nov  6 08:49:37 1994", NOW),  # asctime, without a zone
        ("Sun, 06 Nov 1994 09:49:37 +0100", NOW),
        ("0", None),
        ("", None),
        ("tomorrow", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT" + " " * 100, None),
    ],
)
def test_parse_http_date(text: str, expected: float | None) -> None:
    assert parse_http_date(text) == expected


@given(st.text(max_size=70))
def test_parsing_accepts_any_text(text: str) -> None:
    assert isinstance(parse_http_date(text), float | None)
    assert isinstance(parse_retry_after(text), float | None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("0", 0.0),
        ("-1", None),
        ("1.5", None),
        ("\u0667", None),  # an Arabic digit
        ("9" * 10, None),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),  # in the past
        ("soon", None),
    ],
)
def test_parse_retry_after(text: str | None, expected: float | None) -> None:
    assert parse_retry_after(text, lambda: NOW) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, None), (math.inf, None), (math.nan, None), (0, "1"), (0.2, "1"), (2.01, "3")]
)
def test_format_retry_after(seconds: float | None, expected: str | None) -> None:
    assert format_retry_after(seconds) == expected
