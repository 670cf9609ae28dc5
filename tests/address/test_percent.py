from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import AddressError
from portal.address.percent import (
    append_tail,
    encode,
    encode_path,
    normalize_path,
    normalize_segment,
    normalize_tail,
    parse_query,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
def test_encoded_text_is_ascii_and_decodes_to_itself(text: str) -> None:
    assert encode(text).isascii()
    assert unquote(encode(text)) == text


def test_a_lone_surrogate_is_rejected_with_its_position() -> None:
    with pytest.raises(AddressError, match="lone surrogate at position 2") as caught:
        encode("ab\ud800")
    assert caught.value.position == 2


@pytest.mark.parametrize(
    ("segments", "path"),
    [(("a", "b"), "/a/b"), (("a b", "ä"), "/a%20b/%C3%A4"), (("a/b", "50%"), "/a%2Fb/50%25"), (("a@2",), "/a@2")],
)
def test_encode_path(segments: tuple[str, ...], path: str) -> None:
    assert encode_path(segments) == path


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_a_segment_without_a_name_is_rejected(segment: str) -> None:
    with pytest.raises(AddressError, match="must not be"):
        encode_path(("a", segment))


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("", "/"),
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/%61/%7e", "/a/~"),
        ("/a%2fb", "/a%2Fb"),
        ("/ä", "/%C3%A4"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../../a", "/a"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/%2e%2e/a", "/a"),
        ("/.a/..b", "/.a/..b"),
    ],
)
def test_normalize_path(path: str, normal: str) -> None:
    assert normalize_path(path, path, 0) == normal
    assert normalize_path(normal, normal, 0) == normal


@pytest.mark.parametrize(
    ("path", "position", "reason"),
    [("//a", 11, "empty segment"), ("/a//b", 13, "empty segment"), ("/a%ff", 12, "percent-encoding that is not UTF-8")],
)
def test_a_path_that_is_rejected(path: str, position: int, reason: str) -> None:
    with pytest.raises(AddressError) as caught:
        normalize_path(f"http://abc{path}", path, 10)
    assert (caught.value.reason, caught.value.position) == (reason, position)


def test_a_query_keeps_what_a_segment_encodes() -> None:
    assert normalize_tail("a?b/c&d=%3d", "a?b/c&d=%3d", 0) == "a?b/c&d=%3D"
    assert normalize_segment("a?b", "a?b", 0) == "a%3Fb"


@given(st.lists(st.tuples(TEXT, TEXT).filter(lambda pair: pair != ("", ""))), TEXT)
def test_a_query_survives(pairs: list[tuple[str, str]], fragment: str) -> None:
    text = append_tail("", pairs, fragment)
    query, _, rest = text.partition("#")
    assert parse_query(query.removeprefix("?")) == tuple(pairs)
    assert unquote(rest) == fragment


def test_a_plus_is_not_a_space() -> None:
    assert append_tail("", [("a", "1+1 2")], "") == "?a=1%2B1%202"
    assert parse_query("a=1+1&&b&c=") == (("a", "1+1"), ("b", ""), ("c", ""))
