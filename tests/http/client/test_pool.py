"""ConnectionPool and ConnectionPools, with real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from portal import Address
from portal.http.client import pool as pool_module
from portal.http.client.connection import HTTPConnection
from portal.http.client.pool import ConnectionLimits, ConnectionPool, ConnectionPools
from portal.network.dial import NotSent
from tests.support.ports import free_port


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HTTPConnection]]:
    """Every connection that a pool makes; closed at the end."""
    connections: list[HTTPConnection] = []

    class Recorded(HTTPConnection):
        __slots__ = ()

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            connections.append(self)

    monkeypatch.setattr(pool_module, "HTTPConnection", Recorded)
    yield connections
    for connection in connections:
        connection.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def pool_to(listening: socket.socket, **limits: int) -> ConnectionPool:
    return ConnectionPool("127.0.0.1", listening.getsockname()[1], ConnectionLimits(**limits))


def is_open(connection: HTTPConnection) -> bool:
    return connection._sock.fileno() >= 0


def test_the_connection_used_last_is_taken_first(listening: socket.socket) -> None:
    pool = pool_to(listening)
    first, second = pool.acquire(None), pool.acquire(None)
    pool.put(first)
    pool.put(second)
    assert [pool.acquire(None), pool.acquire(None)] == [second, first]


def test_no_more_than_max_idle_connections_are_kept(listening: socket.socket) -> None:
    pool = pool_to(listening, max_idle=1)
    first, second = pool.acquire(None), pool.acquire(None)
    pool.put(first)
    pool.put(second)
    assert (is_open(first), is_open(second)) == (True, False)


def test_a_connection_that_the_server_closed_is_not_taken(listening: socket.socket) -> None:
    pool = pool_to(listening)
    stale = pool.acquire(None)
    listening.accept()[0].close()
    stale._poll.poll(10_000)
    pool.put(stale)
    assert pool.acquire(None) is not stale
    assert not is_open(stale)


def test_a_connection_that_comes_back_after_close_is_closed(listening: socket.socket) -> None:
    pool = pool_to(listening)
    idle, used = pool.acquire(None), pool.acquire(None)
    pool.put(idle)
    pool.close()
    assert not is_open(idle)
    pool.put(used)
    assert not is_open(used)


def test_closed_pools_keep_no_connection_of_a_later_call(listening: socket.socket) -> None:
    pools = ConnectionPools(ConnectionLimits(), {})
    pools.close()
    address = Address.parse(f"http://127.0.0.1:{listening.getsockname()[1]}/a")
    connection = pools.acquire(address, None)
    assert is_open(connection)
    connection._owner.put(connection)
    assert not is_open(connection)
    assert len(pools) == 0


def test_a_server_that_does_not_listen_was_sent_nothing() -> None:
    pool = ConnectionPool("127.0.0.1", free_port(), ConnectionLimits())
    with pytest.raises(NotSent):
        pool.acquire(None)
    with pytest.raises(TimeoutError):
        pool.acquire(monotonic() - 1.0)


def test_pools_by_host_and_port(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    pools = ConnectionPools(ConnectionLimits(), {})
    connection = pools.acquire(Address.parse(f"http://127.0.0.1:{port}/a"), None)
    connection.release(True)
    assert pools.acquire(Address.parse(f"http://127.0.0.1:{port}/b?c"), None) is connection
    assert len(pools) == 1
    assert pools.acquire(Address.parse(f"http://localhost:{port}/a"), None) is not connection
    assert len(pools) == 2
    pools.close()
    assert len(pools) == 0


def test_the_oldest_pool_is_evicted(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_MAX_POOLS", 1)
    port = listening.getsockname()[1]
    pools = ConnectionPools(ConnectionLimits(), {})
    used = pools.acquire(Address.parse(f"http://127.0.0.1:{port}/"), None)
    pools.acquire(Address.parse(f"http://localhost:{port}/"), None)
    assert len(pools) == 1
    assert is_open(used)
    used.release(True)
    assert not is_open(used)


def test_a_unix_socket_in_place_of_an_authority(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        pools = ConnectionPools(ConnectionLimits(), {"orders.local": path})
        address = Address.parse("http://orders.local/api")
        assert pools.socket_path(address) == path
        assert pools.acquire(address, None)._sock.family is socket.AF_UNIX
        pools.close()
