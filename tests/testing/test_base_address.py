from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal import (
    Address,
    CallContext,
    CallTimeout,
    ConfigError,
    FunctionError,
    RegistryError,
    TransportError,
    ValidationError,
)
from portal.testing.base_address import BaseAddress, as_received, received_items

LEVEL = Address.parse("http://stock.example/api/level")


@pytest.mark.parametrize(
    ("base", "address", "path"),
    [
        ("http://stock.example/api", "http://stock.example/api/level", ("level",)),
        ("http://stock.example:80/api/", "http://stock.example/api/a/b", ("a", "b")),
        ("http://stock.example/api", "http://stock.example/api", ()),
        ("http://stock.example/api", "http://stock.example/apis/level", None),
        ("http://stock.example/api", "https://stock.example/api/level", None),
        ("http://stock.example/api", "http://stock.example:8080/api/level", None),
        ("https://stock.example", "https://stock.example/level", ("level",)),
    ],
)
def test_the_path_below_the_base(base: str, address: str, path: tuple[str, ...] | None) -> None:
    assert BaseAddress(base).path_of(Address.parse(address)) == path


@pytest.mark.parametrize(
    "base", ["stock.example", "local://stock", "http://stock.example/api?x=1", "http://a/b#c", "ftp://a/"]
)
def test_other_text_is_rejected(base: str) -> None:
    with pytest.raises(ConfigError, match="base address"):
        BaseAddress(base)


def test_an_error_is_that_of_a_client() -> None:
    context = CallContext.for_call()
    secret = FunctionError("the password is x", type="ValueError", private=True)
    received = as_received(secret, LEVEL, context)
    assert isinstance(received, FunctionError)
    assert "password" not in str(received)
    assert context.request_id in str(received)
    assert (received.received, received.address, received.type) == (
        True,
        str(LEVEL),
        "ValueError" if received.type else "",
    )

    found = as_received(ValidationError("wrong"), LEVEL, context)
    assert (type(found), found.address, found.scheme) == (ValidationError, str(LEVEL), "http")


@pytest.mark.parametrize("error", [TransportError("lost"), CallTimeout("late")])
def test_an_error_of_the_network_stays(error: TransportError) -> None:
    assert as_received(error, LEVEL, CallContext.for_call()) is error
    assert error.address == str(LEVEL)


def test_an_error_within_a_stream_is_that_of_a_client() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise RegistryError("gone")

    found = received_items(items(), LEVEL, CallContext.for_call())
    assert next(found) == 1
    with pytest.raises(RegistryError) as caught:
        next(found)
    assert caught.value.received
