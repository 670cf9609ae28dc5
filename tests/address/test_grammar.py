from __future__ import annotations

import pytest

from portal import AddressError
from portal.address.grammar import MAX_LENGTH, reject, split


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("local://add", ("local", "add", "", None, None)),
        ("http://host:1/a/b?x=1#f", ("http", "host:1", "/a/b", "x=1", "f")),
        ("dask://s?#", ("dask", "s", "", "", "")),
        ("a+b-c.d://", ("a+b-c.d", "", "", None, None)),
        ("http://h?a?b#c#d", ("http", "h", "", "a?b", "c#d")),
    ],
)
def test_split(text: str, parts: tuple[str | None, ...]) -> None:
    assert split(text).groups() == parts


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "empty"),
        ("add", 3, "no :// after a scheme (such as local://)"),
        ("//add", 0, "no scheme (such as http://)"),
        ("host:80/add", 4, "no :// after a scheme (such as http://)"),
        ("http:/host", 4, "no :// after a scheme (such as http://)"),
        ("1http://host", 0, "no scheme (such as http://)"),
        ("http://a b", 8, "whitespace"),
        ("http://a\\b", 8, "backslash"),
        ("http://a\x00", 8, "control character"),
        ("http://a\x85", 8, "whitespace"),
        ("http://a\ud800", 8, "lone surrogate"),
        ("http://a%2", 8, "percent sign without two hex digits"),
        ("http://[fe80::1%eth0]/", 15, "zone id"),
        ("http://" + "a" * MAX_LENGTH, MAX_LENGTH, "longer than 8192 characters"),
    ],
)
def test_text_of_another_shape_is_rejected(text: str, position: int, reason: str) -> None:
    with pytest.raises(AddressError) as caught:
        split(text)
    assert (caught.value.reason, caught.value.position) == (reason, position)
    assert str(caught.value).endswith(f" is not an address: {reason} at position {position}")


def test_an_error_does_not_repeat_a_password() -> None:
    with pytest.raises(AddressError) as caught:
        reject("http://ann:s3cret@host", None, "user info")
    assert str(caught.value) == "'http://***@host' is not an address: user info"


def test_an_error_shortens_the_text() -> None:
    with pytest.raises(AddressError) as caught:
        reject("http://" + "a" * 1_000, 7, "too long")
    assert len(str(caught.value)) < 150
    assert "aaa...'" in str(caught.value)
