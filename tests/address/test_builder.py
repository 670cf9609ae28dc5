"""AddressBuilder: addresses of decoded parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.address import Address, AddressBuilder
from portal.errors import AddressError


@pytest.mark.parametrize(
    ("made", "normal"),
    [
        (
            AddressBuilder("http")
            .host("127.0.0.1")
            .port(8080)
            .path("api", "add")
            .version("2")
            .query(a="b")
            .fragment("x")
            .build(),
            "http://127.0.0.1:8080/api/add@2?a=b#x",
        ),
        (AddressBuilder("local").path("add").version(">=1,<2").build(), "local://add?version=%3E=1,%3C2"),
        (AddressBuilder("local").path("a@b").version("1@/").build(), "local://a%40b@1@%2F"),
        (AddressBuilder("http").host("h").version("1").build(), "http://h/?version=1"),
        (AddressBuilder("HTTP").host("::1").port(None).build(), "http://[::1]/"),
        (AddressBuilder("http").host("h").query(a=1).query(a=2).build(), "http://h/?a=1&a=2"),
    ],
    ids=str,
)
def test_an_address_of_parts(made: Address, normal: str) -> None:
    assert str(made) == normal


def test_a_builder_can_be_shared() -> None:
    base = AddressBuilder("http").host("h")
    one, two = base.path("a"), base.path("b").port(81)
    assert [str(builder.build()) for builder in (base, one, two)] == ["http://h/", "http://h/a", "http://h:81/b"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: AddressBuilder("local").path("add").host("h").build(), "no host"),
        (lambda: AddressBuilder("local").path("add").port(1).build(), "no host"),
        (lambda: AddressBuilder("local").build(), "empty name"),
        (lambda: AddressBuilder("http").path("add").build(), "empty host"),
        (lambda: AddressBuilder("http").host("h").port(-1).build(), "neither"),
        (lambda: AddressBuilder("http").host("h").path("a").version("").build(), "empty version"),
        (lambda: AddressBuilder("local").path("add", "..").build(), "dot segment"),
        (lambda: AddressBuilder("local").path("\ud800").build(), "surrogate"),
        (lambda: AddressBuilder("local").path("a").fragment("\ud800").build(), "surrogate"),
        (lambda: AddressBuilder("lo cal").path("a").build(), "no scheme"),
        (lambda: AddressBuilder("local:").path("a").build(), "no scheme"),
        (lambda: AddressBuilder("http://evil").host("h").build(), "no scheme"),
        (lambda: AddressBuilder("http").host("h/evil?").path("a").build(), "host name"),
        (lambda: AddressBuilder("http").host("h:81").build(), "IPv6"),
    ],
)
def test_wrong_parts_are_rejected(make: Any, reason: str) -> None:
    with pytest.raises(AddressError) as caught:
        make()
    assert reason in caught.value.reason


segments = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: text not in (".", "..")
)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = words.filter(lambda text: text != "version")
hosts = st.one_of(
    st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z])?(\.[a-z]([a-z0-9-]{0,8}[a-z])?){0,2}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)


@given(
    host=hosts,
    scheme=st.sampled_from(["http", "https", "ws", "wss", "dask", "local", "js", "x-y.z+1"]),
    port=st.none() | st.integers(0, 65535),
    path=st.lists(segments, min_size=1, max_size=4),
    version=st.none() | segments,
    query=st.dictionaries(names, words, max_size=3),
    fragment=words,
)
def test_any_parts_can_be_read_back(
    host: str, scheme: str, port: int | None, path: list[str], version: str | None, query: dict[str, str], fragment: str
) -> None:
    builder = AddressBuilder(scheme).path(*path).version(version).query(**query).fragment(fragment)
    if scheme in ("http", "https", "ws", "wss", "dask"):
        builder = builder.host(host).port(port)
    address = builder.build()
    again = Address(str(address))
    assert again == address
    assert address.segments == tuple(path)
    assert address.version == version
    assert [pair for pair in address.query if pair[0] != "version"] == list(query.items())
    assert address.fragment == fragment
    assert address.origin[2] == port or port is None or not address.host
    for name in ("scheme", "host", "port", "path", "segments", "query", "fragment", "version"):
        assert getattr(again, name) == getattr(address, name)
