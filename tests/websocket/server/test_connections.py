"""Connections: the list, the limits, the events and the counters of the open connections."""

from __future__ import annotations

import threading
from typing import Any

from tests.support.waiting import eventually
from tests.support.websocket_listener import WAIT, WebSocketServer


def add(a: float, b: float) -> float:
    return a + b


def test_clients_are_listed_with_their_counters() -> None:
    with WebSocketServer(add) as server, server.connect(subprotocols=("jsonrpc-2.0",)) as client:
        assert client.call("add", {"a": 1, "b": 2}) == 3.0
        (row,) = server.connections.list_clients()
        assert row["client"] == "network:127.0.0.1"
        assert (row["address"], row["identity"], row["subprotocol"]) == ("127.0.0.1", None, "jsonrpc-2.0")
        assert (row["calls"], row["running"], row["subscriptions"], row["queued"]) == (1, 0, 0, 0)
        assert row["bytes_in"] > 50
        assert row["bytes_out"] > 30
        assert server.connections.get(row["id"]) is server.only()
        assert server.connections.get("c0") is None


def test_connections_are_closed_by_id_client_or_test() -> None:
    with WebSocketServer(add) as server:
        for which in (lambda row: True, "network:127.0.0.1", "id"):
            with server.connect() as client:
                assert client.call("add", {"a": 1, "b": 2}) == 3.0
                chosen: Any = server.only().id if which == "id" else which
                assert server.connections.disconnect("nobody") == 0
                assert server.connections.disconnect(chosen, code=4403, reason="go") == 1
                assert client.closed() == (4403, "go")
            eventually(lambda: len(server.connections) == 0)
        assert server.connections.stats()["accepted"] == 3


def test_events_come_in_order_and_in_a_worker() -> None:
    events: list[tuple[str, str]] = []
    gate, ended = threading.Event(), threading.Event()

    def connected(row: dict[str, Any]) -> None:
        gate.wait(WAIT)
        events.append(("connect", row["id"]))
        assert threading.current_thread().name.startswith("portal-serve")

    def disconnected(row: dict[str, Any]) -> None:
        events.append(("disconnect", row["id"]))
        ended.set()

    with WebSocketServer(add, on_connect=connected, on_disconnect=disconnected) as server:
        with server.connect() as client:
            assert client.call("add", {"a": 1, "b": 2}) == 3.0  # the event holds nothing up
            number = server.only().id
        eventually(lambda: len(server.connections) == 0)
        assert events == []
        gate.set()
        assert ended.wait(WAIT)
    assert events == [("connect", number), ("disconnect", number)]


def test_an_event_that_fails_is_logged(caplog: Any) -> None:
    ended = threading.Event()

    def fail(row: dict[str, Any]) -> None:
        ended.set()
        raise ValueError("of the hook")

    with WebSocketServer(add, on_disconnect=fail) as server:
        server.connect().sock.close()
        assert ended.wait(WAIT)
        eventually(lambda: "a hook of a connection failed" in caplog.text)


def test_dead_and_broken_connections_are_counted() -> None:
    with WebSocketServer(add) as server:
        with server.connect() as client:
            client.sock.sendall(b"\x81\x05Hello")  # not masked
            assert client.closed()[0] == 1002
        eventually(lambda: len(server.connections) == 0)
        stats = server.connections.stats()
        assert (stats["broken_protocol"], stats["open"], stats["clients"]) == (1, 0, 0)
