"""connect_to_host, over real sockets and with scripted name look-ups."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from portal.network.dial import connect_socket, connect_to_host
from tests.support.ports import free_port


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def lookup(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)


def test_the_first_address_that_accepts_is_taken(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listening.getsockname()[1]
    lookup(monkeypatch, ("127.0.0.1", free_port()), ("127.0.0.2", free_port()), ("127.0.0.1", port))
    with connect_to_host("orders.example", port, monotonic() + 10) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)


def test_the_last_error_is_raised_if_no_address_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup(monkeypatch, ("127.0.0.1", free_port()), ("127.0.0.2", free_port()))
    with pytest.raises(ConnectionRefusedError):
        connect_to_host("orders.example", 1, monotonic() + 10)


def test_a_host_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup(monkeypatch)
    with pytest.raises(OSError, match=r"orders\.example has no address"):
        connect_to_host("orders.example", 1, monotonic() + 10)


def test_the_addresses_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def connect(family: int, address: Any, limit: float) -> socket.socket:
        limits.append(limit - monotonic())
        raise OSError("refused")

    monkeypatch.setattr("portal.network.dial.connect_socket", connect)
    lookup(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3))
    with pytest.raises(OSError, match="refused"):
        connect_to_host("orders.example", 1, monotonic() + 30)
    assert [round(limit) for limit in limits] == [10, 15, 30]


def test_no_socket_is_made_without_time(listening: socket.socket) -> None:
    with pytest.raises(TimeoutError, match="no time is left"):
        connect_socket(socket.AF_INET, listening.getsockname(), monotonic() - 1)
