from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import ProtocolError
from portal.http11.fields import (
    is_field_content,
    is_field_value,
    is_idempotency_key,
    is_request_id,
    is_token,
    is_visible,
    parse_field_line,
    quality_values,
    split_list,
)


@pytest.mark.parametrize(
    ("text", "token", "visible", "value", "content"),
    [
        ("abc", True, True, True, True),
        ("a!#$%&'*+-.^_`|~9", True, True, True, True),
        ("a:b", False, True, True, True),
        ("a b", False, False, True, True),
        (" a", False, False, True, False),
        ("a\tb", False, False, True, True),
        ("", False, False, True, False),
        ("a\nb", False, False, False, False),
        ("a\x7f", False, False, False, False),
        ("\u00e9", False, False, True, True),
        ("abc\n", False, False, False, False),
    ],
)
def test_tokens_and_values(text: str, token: bool, visible: bool, value: bool, content: bool) -> None:
    found = [test(text) is not None for test in (is_token, is_visible, is_field_value, is_field_content)]
    assert found == [token, visible, value, content]


@pytest.mark.parametrize(
    ("text", "request_id", "key"),
    [
        ("a", True, True),
        ("a" * 128, True, True),
        ("a" * 129, False, True),
        ("a" * 255, False, True),
        ("a" * 256, False, False),
        ("", False, False),
        ("a b", False, False),
        ("a\n", False, False),
        ("\u00e9", False, False),
    ],
)
def test_request_ids_and_idempotency_keys(text: str, request_id: bool, key: bool) -> None:
    assert (is_request_id(text) is not None) is request_id
    assert (is_idempotency_key(text) is not None) is key


@pytest.mark.parametrize("pad", [b"", b"x" * 300])
def test_parse_field_line(pad: bytes) -> None:
    assert parse_field_line(b"X-Name: \t a\xe9 b" + pad + b" ") == ("x-name", "a\xe9 b" + pad.decode())
    for bad in (b"X Name: a", b"X-Name : a", b": a", b"X-Name", b" X: a", b"X: a\rb", b"X: a\x00"):
        with pytest.raises(ProtocolError):
            parse_field_line(bad + pad)


def test_split_list() -> None:
    assert split_list(" a ,,\tb c, ,d") == ["a", "b c", "d"]
    assert split_list("") == split_list(" , ") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("gzip", [("gzip", 1.0)]),
        ("GZip;Q=0.5 , *;q=0", [("gzip", 0.5), ("*", 0.0)]),
        ("text/html;level=1;q=0.125", [("text/html", 0.125)]),
        ("a;q=1.000", [("a", 1.0)]),
        ("a;q=2, b;q=-1, c;q=0.1234, d;q=, e;q=nan", [(name, None) for name in "abcde"]),
        (";q=1, a", [("a", 1.0)]),
    ],
)
def test_quality_values(text: str, expected: list[tuple[str, float | None]]) -> None:
    assert list(quality_values(text)) == expected


@given(st.text(max_size=60))
def test_weights_are_between_0_and_1(text: str) -> None:
    assert all(weight is None or 0 <= weight <= 1 for _, weight in quality_values(text))
