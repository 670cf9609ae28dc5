"""WebSocketResolver, with a server of another library."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal import AddressError, ConfigError, RegistryError
from portal.websocket import Event, WebSocketClient, WebSocketResolver
from tests.support.topic_peer import LISTING, TopicPeer, topic_peer

WAIT = 20.0


@pytest.fixture
def peer() -> Iterator[TopicPeer]:
    with topic_peer() as found:
        yield found


@pytest.fixture
def resolver() -> Iterator[WebSocketResolver]:
    found = WebSocketResolver(WebSocketClient(heartbeat=None))
    yield found
    found.close()


def test_functions_services_and_listings(peer: TopicPeer, resolver: WebSocketResolver) -> None:
    add = resolver.resolve_function(f"{peer.address}/add")
    assert add(a=1, b=2) == 3
    assert resolver.resolve_service(f"{peer.address}/math").functions["add"](a=2, b=2) == 4
    assert resolver.list_at(peer.address) == LISTING
    with pytest.raises(RegistryError, match="not a function"):
        resolver.resolve_function(f"{peer.address}/ticks")
    assert len(peer.headers) == 1  # one connection for all


def test_subscribe_and_publish(peer: TopicPeer, resolver: WebSocketResolver) -> None:
    with resolver.subscribe(f"{peer.address}/ticks", timeout=WAIT) as ticks:
        assert resolver.publish(f"{peer.address}/ticks", [1], key="k") == ("e", 1)
        assert ticks.next(WAIT) == Event([1], "e", 1, "k")
    with pytest.raises(RegistryError, match="no such topic"):
        resolver.subscribe(f"{peer.address}/unknown", timeout=WAIT)


@pytest.mark.parametrize("method", ["resolve_function", "resolve_service", "list_at", "subscribe"])
def test_an_address_of_another_scheme_is_rejected(method: str, resolver: WebSocketResolver) -> None:
    with pytest.raises(AddressError, match="http://h/add is not a WebSocket address"):
        getattr(resolver, method)("http://h/add")


def test_the_client_must_be_a_websocket_client() -> None:
    with pytest.raises(ConfigError, match="client must be a WebSocketClient, got 'x'"):
        WebSocketResolver("x")  # type: ignore[arg-type]
