from __future__ import annotations

import string
from types import SimpleNamespace
from typing import Any

import pytest

from portal import Address
from portal.errors import RegistryError
from portal.http.server.target import public_base, read_target

PLAIN = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@"


@pytest.mark.parametrize(
    ("tail", "query", "path", "version"),
    [
        ("", "", (), None),
        ("/add", "", ("add",), None),
        ("/shop/add/3f2a9c51", "", ("shop", "add", "3f2a9c51"), None),
        ("/", "", (), None),
        ("/a%2Fb/%C3%A4", "", ("a/b", "ä"), None),
        ("/add", "version=2", ("add",), "2"),
        ("/add", "x=1&version=%3E%3D1%2C%3C2&version=3", ("add",), ">=1,<2"),
        ("/add", "version=", ("add",), ""),
        ("/add", "versions=2", ("add",), None),
        ("/" + "a" * 1_000, "version=2", ("a" * 1_000,), "2"),
    ],
)
def test_path_and_version(tail: str, query: str, path: tuple[str, ...], version: str | None) -> None:
    assert read_target(tail, query) == (path, version)
    assert read_target(tail, query) == (path, version)  # from the cache


@pytest.mark.parametrize("tail", ["//add", "/add/", "//", "/add//3f2a9c51", "///add", "/shop//add", "/add/3f2a9c51/"])
def test_a_path_has_no_empty_segments(tail: str) -> None:
    for _ in range(2):
        with pytest.raises(RegistryError) as caught:
            read_target(tail, "")
        assert "without empty segments" in caught.value.hint


@pytest.mark.parametrize("character", [chr(code) for code in range(33, 127)])
def test_a_character_has_one_spelling(character: str) -> None:
    """What a segment may have as it is (RFC 3986 section 3.3) is not encoded, and everything else is."""
    raw, upper, lower = character, f"%{ord(character):02X}", f"%{ord(character):02x}"
    served, others = (upper, {raw, lower}) if character not in PLAIN else (raw, {upper, lower})
    assert read_target(f"/shop/a{served}", "")[0] == ("shop", f"a{character}")
    for other in others - {served, "/", "?", "#"}:
        with pytest.raises(RegistryError) as caught:
            read_target(f"/shop/a{other}", "")
        assert "percent-encode all else" in caught.value.hint


@pytest.mark.parametrize("tail", ["/%c3%a9", "/%C3%a9", "/%FF", "/%C3", "/%", "/%4", "/%zz", "/add%40", "/add%401"])
def test_text_has_one_spelling(tail: str) -> None:
    assert read_target("/%C3%A9", "")[0] == ("é",)
    with pytest.raises(RegistryError):
        read_target(tail, "")


@pytest.mark.parametrize(
    ("request_", "address"),
    [
        (SimpleNamespace(), None),
        (SimpleNamespace(base=None), None),
        (SimpleNamespace(base="https://shop.example/api"), Address.parse("https://shop.example/api")),
        (SimpleNamespace(base="http://a b/api"), None),
    ],
)
def test_the_base_that_the_client_sees(request_: Any, address: Address | None) -> None:
    assert public_base(request_) == address
