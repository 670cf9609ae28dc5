"""Cache-Control directives and the freshness of a response."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.cache.cache_control import Freshness, freshness, parse_cache_control


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("", {}),
        ("no-store", {"no-store": None}),
        ("Max-Age=60, MUST-revalidate", {"max-age": "60", "must-revalidate": None}),
        ('max-age="60"', {"max-age": "60"}),
        ('private="set-cookie, x", max-age=5', {"private": "set-cookie, x", "max-age": "5"}),
        (r'x="a\"b\\c"', {"x": 'a"b\\c'}),
        ('x=""', {"x": ""}),
        ("max-age=", {"max-age": ""}),
        (" , ,max-age=1\t,,", {"max-age": "1"}),
        ("max-age=1, max-age=2", {"max-age": "1"}),
        ("max-age = 1, no-cache", {"no-cache": None}),
        ('bad="open, no-cache', {"no-cache": None}),
        ("b@d, no-cache", {"no-cache": None}),
        ("b@d", {}),
        ("x" * 5000, {"no-store": None}),
    ],
)
def test_parse_cache_control(text: str, directives: dict[str, str | None]) -> None:
    assert parse_cache_control(text) == directives


@given(st.text(alphabet='a=",\\ @1\t', max_size=60))
def test_parse_cache_control_accepts_any_text(text: str) -> None:
    for name in parse_cache_control(text):
        assert name == name.lower()
        assert name


NOW = 1_700_000_000.0


def date(seconds: float) -> str:
    return formatdate(NOW + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Freshness(None, True)),
        ({"cache-control": "private"}, Freshness(None, True)),
        ({"cache-control": "private, max-age=60"}, Freshness(60.0, True)),
        ({"cache-control": "max-age=60, must-revalidate"}, Freshness(60.0, True)),
        ({"cache-control": "max-age=60, s-maxage=5"}, Freshness(60.0, True)),
        ({"cache-control": "s-maxage=5"}, Freshness(None, True)),
        ({"cache-control": "max-age=60", "age": "50"}, Freshness(10.0, True)),
        ({"cache-control": "max-age=60", "age": "70"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=60", "age": "old"}, Freshness(60.0, True)),
        ({"cache-control": "max-age=60", "expires": date(5)}, Freshness(60.0, True)),
        ({"cache-control": "max-age=0"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=-5"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=1.5"}, Freshness(0.0, True)),
        ({"cache-control": "max-age"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=\u0665"}, Freshness(None, True)),
        ({"cache-control": "max-age=00000000000060"}, Freshness(60.0, True)),
        ({"cache-control": "max-age=000"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=" + "9" * 500}, Freshness(2.0**31, True)),
        ({"cache-control": "max-age=9999999999"}, Freshness(2.0**31, True)),
        ({"cache-control": "no-cache, max-age=60"}, Freshness(0.0, True)),
        ({"cache-control": 'no-cache="x"'}, Freshness(0.0, True)),
        ({"cache-control": "no-store, max-age=60"}, Freshness(0.0, False)),
        ({"cache-control": "max-age=60", "vary": "*"}, Freshness(0.0, False)),
        ({"cache-control": "max-age=60", "vary": "accept"}, Freshness(60.0, True)),
        ({"expires": date(30), "date": date(-10)}, Freshness(40.0, True)),
        ({"expires": date(30)}, Freshness(30.0, True)),
        ({"expires": date(30), "date": "yesterday"}, Freshness(30.0, True)),
        ({"expires": date(30).replace("GMT", "-0000")}, Freshness(30.0, True)),
        ({"expires": date(-30)}, Freshness(0.0, True)),
        ({"expires": date(30), "age": "10"}, Freshness(20.0, True)),
        ({"expires": "0"}, Freshness(0.0, True)),
        ({"expires": ""}, Freshness(0.0, True)),
        ({"expires": "Fri, 31 Dec 9999 23:59:59 GMT"}, Freshness(2.0**31, True)),
    ],
)
def test_the_headers_say_how_long_a_response_is_fresh(headers: dict[str, str], expected: Freshness) -> None:
    assert freshness(headers, clock=lambda: NOW) == expected


@given(st.text(max_size=40))
def test_freshness_accepts_any_date(text: str) -> None:
    seconds, store = freshness({"expires": text})
    assert store
    assert seconds is not None
    assert seconds >= 0
