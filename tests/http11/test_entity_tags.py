from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.http11.entity_tags import entity_tag, lists_weak_tag, matches_tag, not_modified_headers, weak_tag


def test_a_304_has_no_header_that_describes_its_content() -> None:
    kept = [
        ("ETag", '"a"'),
        ("Cache-Control", "no-cache"),
        ("Content-Location", "/a"),
        ("Content-Security-Policy", "x"),
        ("Vary", "Accept"),
        ("X-Request-ID", "1"),
    ]
    dropped = [("content-TYPE", "a/b"), ("Content-Encoding", "gzip"), ("Content-Length", "3"), ("Last-Modified", "x")]
    assert not_modified_headers([*dropped, *kept]) == kept


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_equal_bodies_have_equal_tags(one: bytes, other: bytes) -> None:
    tag = entity_tag(one)
    assert tag[0] == tag[-1] == '"'
    assert len(tag) == 34
    assert (tag == entity_tag(other)) is (one == other)
    assert matches_tag(tag, tag)


@pytest.mark.parametrize(
    ("header", "etag", "expected"),
    [
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"a"', 'W/"a"', True),
        ('W/"a"', 'W/"a"', True),
        ('"b"', '"a"', False),
        ('"A"', '"a"', False),
        ('"b", "a"', '"a"', True),
        ('"b","a"', '"a"', True),
        (' "b" ,\t W/"a" ', '"a"', True),
        (', "b",, "a",', '"a"', True),
        ('"x,y", "a"', '"x,y"', True),
        ('"x,y"', '"x"', False),
        ('""', '""', True),
        ("*", '"a"', True),
        (" * ", '"a"', True),
        ("*", None, False),
        ('"a"', None, False),
        (None, '"a"', False),
        ("", '"a"', False),
        (",", '"a"', False),
        ("a", '"a"', False),
        ('"a', '"a"', False),
        ('"a" "b"', '"a"', False),
        ('"a""a"', '"a"', False),
        ('w/"a"', '"a"', False),
        ('W/ "a"', '"a"', False),
        ('"a", *', '"a"', False),
        ('*, "a"', '"a"', False),
        ('"a", junk', '"a"', False),
        ("'a'", '"a"', False),
        ('"a b"', '"a b"', False),
        ("a", "a", False),
        ('"\xff"', '"\xff"', True),
    ],
)
def test_if_none_match(header: str | None, etag: str | None, expected: bool) -> None:
    assert matches_tag(header, etag) is expected


@given(st.text(alphabet='"W/a, *', max_size=30))
def test_matching_accepts_any_text(header: str) -> None:
    assert isinstance(matches_tag(header, '"a"'), bool)


@pytest.mark.parametrize(
    ("header", "expected"),
    [('W/"a"', True), ('"b", W/"a"', True), ('"a"', False), ("*", False), ('W/"ab"', False), ('W/"a" x', False)],
)
def test_lists_weak_tag(header: str, expected: bool) -> None:
    assert lists_weak_tag(header, '"a"') is expected
    assert lists_weak_tag(header, 'W/"a"') is expected


def test_weak_tag() -> None:
    assert weak_tag('"a"') == weak_tag(weak_tag('"a"')) == 'W/"a"'
    assert not lists_weak_tag(None, '"a"')
