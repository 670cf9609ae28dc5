"""Address: parsing, normal form, parts, references, rejections."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.address import Address
from portal.errors import AddressError

GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("local://add", "local://add", {"scheme": "local", "host": "", "port": None, "segments": ("add",), "name": "add"}),
    ("local://add/3f2a9c51", "local://add/3f2a9c51", {"segments": ("add", "3f2a9c51"), "host": "", "name": "add"}),
    ("LOCAL://Add", "local://Add", {"segments": ("Add",)}),
    ("local:///add", "local://add", {"path": "/add", "authority": "", "base": "local://"}),
    ("local://add@2", "local://add@2", {"segments": ("add",), "version": "2", "name": "add", "path": "/add@2"}),
    ("local://add@2/3f2a9c51", "local://add@2/3f2a9c51", {"segments": ("add", "3f2a9c51"), "version": "2"}),
    ("local://add@>=1,<2", "local://add@%3E=1,%3C2", {"segments": ("add",), "version": ">=1,<2"}),
    ("local://add?version=>=1,<2", "local://add?version=%3E=1,%3C2", {"version": ">=1,<2", "name": "add"}),
    ("local://add?version=1.0+x", "local://add?version=1.0%2Bx", {"version": "1.0+x"}),
    ("local://add@2?version=2", "local://add@2?version=2", {"version": "2"}),
    ("local://a%40b", "local://a%40b", {"segments": ("a@b",), "version": None}),
    ("local://@a/b/c", "local://@a/b/c", {"segments": ("@a", "b", "c"), "version": None}),
    ("local://a@/b", "local://a@/b", {"segments": ("a@", "b"), "version": None}),
    ("local://größe", "local://gr%C3%B6%C3%9Fe", {"segments": ("größe",)}),
    ("local://a/../b/./c", "local://b/c", {"segments": ("b", "c")}),
    ("local://a/%2e%2E/b", "local://b", {"segments": ("b",)}),
    ("local://a%2fb/%7ec", "local://a%2Fb/~c", {"segments": ("a/b", "~c")}),
    (
        "js://quickjs/discount/9b01ffe2",
        "js://quickjs/discount/9b01ffe2",
        {"segments": ("quickjs", "discount", "9b01ffe2")},
    ),
    ("js://quickjs/f/9b01ffe29b01ffe2", "js://quickjs/f/9b01ffe29b01ffe2", {"name": "f"}),
    ("test://add/1", "test://add/1", {"segments": ("add", "1")}),
    (
        "dask://Scheduler:8786/add",
        "dask://scheduler:8786/add",
        {"host": "scheduler", "port": 8786, "segments": ("add",)},
    ),
    ("http://h", "http://h/", {"host": "h", "path": "/", "segments": (), "name": "", "base": "http://h"}),
    ("http://h?a=1", "http://h/?a=1", {"query": (("a", "1"),)}),
    ("http://h/api/", "http://h/api/", {"segments": ("api",), "path": "/api/"}),
    (
        "http://h/?a=%2c&b&=c&&a=d=e",
        "http://h/?a=%2C&b&=c&&a=d=e",
        {"query": (("a", ","), ("b", ""), ("", "c"), ("a", "d=e"))},
    ),
    ("http://h/?#", "http://h/", {"query": (), "fragment": ""}),
    ("http://h/#a b".replace(" ", "%20"), "http://h/#a%20b", {"fragment": "a b"}),
    ("http://h/?q#f?/#", "http://h/?q#f?/%23", {"fragment": "f?/#"}),
]

BAD: list[tuple[str, int | None, str]] = [
    ("", 0, "empty"),
    ("add", 3, "no ://"),
    ("local:add", 5, "no ://"),
    ("local:/add", 5, "no ://"),
    ("://add", 0, "no scheme"),
    ("1a://add", 0, "no scheme"),
    ("lo_cal://add", 2, "no ://"),
    ("local://", 8, "empty name"),
    ("local:///", 8, "empty name"),
    ("local://..", 8, "empty name"),
    ("local://@2", 8, "empty name"),
    ("local://add@", 11, "empty version"),
    ("local://add?version=", 12, "empty version"),
    ("local://add@1?version=2", 14, "two versions"),
    ("local://add?version=1&version=2", 12, "two versions"),
    ("local://a//b", 10, "empty segment"),
    ("http://h/a//", 11, "empty segment"),
    (" local://add", 0, "whitespace"),
    ("local://a b", 9, "whitespace"),
    ("local://a\u2003b", 9, "whitespace"),
    ("local://add\n", 11, "whitespace"),
    ("local://a\x00b", 9, "control"),
    ("local://a\x7fb", 9, "control"),
    ("local://a\\b", 9, "backslash"),
    ("local://a\ud800", 9, "surrogate"),
    ("local://a%2", 9, "percent"),
    ("local://a%zz", 9, "percent"),
    ("local://a%ff", 9, "UTF-8"),
    ("local://ab%41%c3x", 13, "UTF-8"),
    ("http://h/?a=%C3", 12, "UTF-8"),
    ("http://h/#%C3", 10, "UTF-8"),
    ("local://" + "a" * 8185, 8192, "8192"),
    ("local://" + "ü" * 8000, None, "8192"),
]


def rejected(text: Any, reason: str) -> AddressError:
    with pytest.raises(AddressError) as caught:
        Address.of(text)
    assert reason in caught.value.reason
    assert caught.value.reason in str(caught.value) or not isinstance(text, str)
    return caught.value


@pytest.mark.parametrize(("text", "normal", "parts"), GOOD, ids=[row[0] for row in GOOD])
def test_an_address_has_these_parts_in_normal_form(text: str, normal: str, parts: dict[str, Any]) -> None:
    address = Address.parse(text)
    assert str(address) == normal
    assert {name: getattr(address, name) for name in parts} == parts
    assert Address.parse(normal) == address
    assert repr(address) == f"Address({normal!r})"


@pytest.mark.parametrize(("text", "position", "reason"), BAD, ids=[ascii(row[0][:30]) for row in BAD])
def test_a_malformed_address_is_rejected_at_its_position(text: str, position: int | None, reason: str) -> None:
    assert rejected(text, reason).position == position


@pytest.mark.parametrize("value", [None, 1, b"local://add", ["local://add"]], ids=repr)
def test_an_address_must_be_a_string(value: Any) -> None:
    rejected(value, "not a string")


@pytest.mark.parametrize(
    "text", ["http://me:secret@h/", "http://me:sec ret@h/", "http://me:s/ecret@h/", "x://me:secret@ h"]
)
def test_the_error_does_not_show_a_password(text: str) -> None:
    error = rejected(text, "")
    assert "cret" not in str(error)
    assert "cret" not in str(error.to_dict())


def test_the_error_is_short() -> None:
    assert len(str(rejected("local://" + "a" * 5000 + " ", "whitespace"))) < 200


def test_the_longest_address() -> None:
    assert len(str(Address.parse("local://" + "a" * 8184))) == 8192


# as a value


def test_equality_order_and_hash() -> None:
    one, same, other = (Address.parse(text) for text in ("http://h:80/a", "HTTP://H/a", "http://h/b"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one < other <= other
    assert other > one
    assert len({one, same, other}) == 2
    assert one != "http://h/a"
    assert sorted([other, one]) == [one, other]
    with pytest.raises(TypeError):
        assert one < "http://h/b"  # type: ignore[operator]


def test_an_address_is_immutable() -> None:
    address = Address.parse("http://h/a")
    with pytest.raises(AttributeError, match="immutable"):
        address.host = "g"
    with pytest.raises(AttributeError):
        address.other = 1  # type: ignore[attr-defined]
    assert str(address) == "http://h/a"


def test_an_address_can_be_copied_and_pickled() -> None:
    address = Address.parse("http://h/a@2?b=c#d")
    for again in (pickle.loads(pickle.dumps(address)), copy.copy(address), copy.deepcopy(address)):
        assert again == address
        assert again.version == "2"


def test_the_text_is_computed_once_and_gives_the_hash() -> None:
    address = Address("http://h:80/a")
    assert str(address) is str(address)
    assert hash(address) == hash(str(address))


def test_parse_caches() -> None:
    assert Address.parse("local://cached") is Address.parse("local://cached")
    address = Address("local://cached")
    assert Address.of(address) is address


# made of parts


@pytest.mark.parametrize(
    ("made", "normal"),
    [
        (Address.local("local", ("add",)), "local://add"),
        (Address.local("local", ("users", "get@2", "3f2a9c51")), "local://users/get@2/3f2a9c51"),
        (Address.local("local", ("a/b", "c d", "?#%")), "local://a%2Fb/c%20d/%3F%23%25"),
        (Address.network("http", "127.0.0.1", 8080, ("api", "add")), "http://127.0.0.1:8080/api/add"),
        (Address.network("http", "::1", 80, ()), "http://[::1]/"),
        (Address.network("ws", "h", None, ("ws",)), "ws://h/ws"),
        (Address.parse("http://h/api?x=1#y").child("add@2"), "http://h/api/add@2"),
        (Address.parse("http://h/api/").child("a b", "c"), "http://h/api/a%20b/c"),
        (Address.parse("http://h").child("api"), "http://h/api"),
        (Address.parse("http://h/api?x=1").child(), "http://h/api"),
        (Address.parse("local://users").child("get"), "local://users/get"),
        (Address.parse("http://h/a#f").with_query(a=1, b="x y"), "http://h/a?a=1&b=x%20y#f"),
        (Address.parse("http://h/a?a=1&b=2&c=3").with_query(b=None, a="+&="), "http://h/a?c=3&a=%2B%26="),
        (Address.parse("local://add").with_query(version=">=1,<2"), "local://add?version=%3E=1,%3C2"),
    ],
    ids=str,
)
def test_an_address_of_parts(made: Address, normal: str) -> None:
    assert str(made) == normal


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Address.network("http", "me@h", 80, ()), "host name"),
        (lambda: Address.local("local", ("",)), "empty"),
        (lambda: Address.local("local", ()), "empty name"),
        (lambda: Address.parse("http://h/").child("."), "dot segment"),
    ],
)
def test_wrong_parts_are_rejected(make: Any, reason: str) -> None:
    with pytest.raises(AddressError) as caught:
        make()
    assert reason in caught.value.reason


# references: the examples of RFC 3986 sections 5.4.1 and 5.4.2, as far as they lead to an address

REFERENCES = {
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g/",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q#s",
    "g#s": "http://a/b/c/g#s",
    "g?y#s": "http://a/b/c/g?y#s",
    ";x": "http://a/b/c/;x",
    "g;x": "http://a/b/c/g;x",
    "g;x?y#s": "http://a/b/c/g;x?y#s",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../": "http://a/",
    "../../g": "http://a/g",
    "../../../g": "http://a/g",
    "../../../../g": "http://a/g",
    "/./g": "http://a/g",
    "/../g": "http://a/g",
    "g.": "http://a/b/c/g.",
    ".g": "http://a/b/c/.g",
    "g..": "http://a/b/c/g..",
    "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g",
    "./g/.": "http://a/b/c/g/",
    "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h",
    "g;x=1/./y": "http://a/b/c/g;x=1/y",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x",
    "g?y/../x": "http://a/b/c/g?y/../x",
    "g#s/./x": "http://a/b/c/g#s/./x",
    "g#s/../x": "http://a/b/c/g#s/../x",
    "ws://x/y": "ws://x/y",
    "local://add": "local://add",
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_is_resolved_as_in_rfc_3986(reference: str) -> None:
    assert str(Address.parse("http://a/b/c/d;p?q#old").resolve(reference)) == REFERENCES[reference]


@pytest.mark.parametrize(
    ("base", "reference", "normal"),
    [
        ("local://users/get", "put", "local://users/put"),
        ("local://users/get", "/add", "local://add"),
        ("local://users/get", "../add@2", "local://add@2"),
        ("local://add", "?version=2", "local://add?version=2"),
        ("http://h", "add", "http://h/add"),
        ("http://[::1]:81/api/", "add", "http://[::1]:81/api/add"),
    ],
)
def test_a_reference_is_resolved_at_other_addresses(base: str, reference: str, normal: str) -> None:
    assert str(Address.parse(base).resolve(reference)) == normal


def test_an_address_resolves_to_itself() -> None:
    address = Address.parse("local://add")
    assert Address.parse("http://h/").resolve(address) is address


@pytest.mark.parametrize(
    ("reference", "position"),
    [("g h", 1), ("a%z", 1), ("//h:x/", 4), ("g:h", 1), ("mailto:a", 6), ("?a=%ff", 3), ("#\\", 1), ("ü" * 3000, None)],
)
def test_a_malformed_reference_is_rejected_at_its_position(reference: str, position: int | None) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse("http://a/b/c/d").resolve(reference)
    assert caught.value.position == position


# properties

pieces = st.sampled_from(
    [
        "http://",
        "local://",
        "ws:",
        "//",
        "/",
        ".",
        "..",
        "@",
        "?",
        "#",
        "&",
        "=",
        "+",
        ":",
        "[",
        "]",
        "::1",
        "%",
        "%41",
        "%2e",
        "%C3%BC",
        "%ff",
        "%2F",
        "ü",
        "ß",
        "。",
        "１",
        "h",
        "80",
        "0",
        "version=",
        " ",
        "\\",
        "\ud800",
        "\x00",
        "xn--",
        "℀",
        "|",
    ]
)


def address_or_checked_error(make: Callable[[], Address], text: str) -> Address | None:
    try:
        return make()
    except AddressError as error:
        rejection = error
    assert rejection.reason
    assert rejection.position is None or 0 <= rejection.position <= len(text)
    return None


@given(st.text() | st.lists(pieces).map("".join) | st.tuples(st.just("http://"), st.text()).map("".join))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    address = address_or_checked_error(lambda: Address(text), text)
    if address is not None:
        again = Address(str(address))
        assert str(again) == str(address)
        assert (again.segments, again.query, again.version) == (address.segments, address.query, address.version)


@given(st.lists(pieces).map("".join))
def test_any_reference_is_an_address_or_an_address_error(reference: str) -> None:
    base = Address("http://h/a/b?c#d")
    found = address_or_checked_error(lambda: base.resolve(reference), reference)
    assert found is None or found == Address(str(found))
