"""A WebSocket server of another library with one function and one topic, for clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed

from portal import function
from tests.support.websocket_peer import websocket_peer

__all__ = ["TopicPeer", "topic_peer"]


@function(idempotent=True)
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


LISTING = {"functions": [{"name": "add", "address": "ws://h/ws/add/1"}], "services": []}
SERVICE = {"name": "math", "state": "running", "functions": [{"name": "add", "address": "ws://h/ws/math/add/1"}]}


class TopicPeer:
    """The state of the server.

    Attributes:
        address: of the portal.
        subscribed: the parameters of each rpc.subscribe.
        headers: the headers of each handshake.
    """

    def __init__(self) -> None:
        self.address = ""
        self.subscribed: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._connections: dict[Any, set[str]] = {}

    def handle(self, connection: Any) -> None:
        with self._changed:
            self._connections[connection] = set()
            self.headers.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
        try:
            for text in connection:
                request = json.loads(text)
                try:
                    reply: dict[str, Any] = {"result": self._result(connection, request["method"], request["params"])}
                except LookupError as error:
                    data = {"code": "registry_error", "status": 404}
                    reply = {"error": {"code": -32601, "message": str(error), "data": data}}
                if "id" in request:
                    connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}))
                if request["method"] == "rpc.subscribe" and "result" in reply:
                    self._begin(connection, request["params"])
        except ConnectionClosed:
            return
        finally:
            with self._changed:
                self._connections.pop(connection, None)

    def _result(self, connection: Any, method: str, params: dict[str, Any]) -> Any:
        if method == "rpc.describe":
            known = {"add": add.schema.to_dict(), "add/1": add.schema.to_dict(), "math/add/1": add.schema.to_dict()}
            return {**known, "": LISTING, "math": SERVICE, "ticks": {"topic": "ticks"}}[params["path"]]
        if method in ("add", "add/1", "math/add/1"):
            return params["a"] + params["b"]
        if method == "rpc.subscribe":
            if params["topic"] != "ticks":
                raise LookupError("there is no such topic")
            with self._changed:
                self.subscribed.append(params)
                offset = params.get("from", {}).get("offset", len(self._events))
                self._changed.notify_all()
            return {"subscription": "s-1", "epoch": "e", "offset": offset, "recovered": True}
        if method == "rpc.unsubscribe":
            with self._changed:
                self._connections[connection].discard(params["subscription"])
                self._changed.notify_all()
            return True
        if method == "rpc.publish":
            return {"epoch": "e", "offset": self.publish(params["data"], params.get("key"))}
        raise LookupError(f"there is no method {method}")

    def _begin(self, connection: Any, params: dict[str, Any]) -> None:
        with self._changed:
            since = params.get("from", {}).get("offset", len(self._events))
            for event in self._events[since:]:
                self._send(connection, event)
            self._connections[connection].add("s-1")
            self._changed.notify_all()

    def publish(self, data: Any, key: str | None = None) -> int:
        """Publish an event and return its offset."""
        with self._changed:
            event = {"subscription": "s-1", "epoch": "e", "offset": len(self._events) + 1, "data": data}
            self._events.append(event | ({} if key is None else {"key": key}))
            for connection, subscriptions in list(self._connections.items()):
                if subscriptions:
                    self._send(connection, self._events[-1])
            return len(self._events)

    def _send(self, connection: Any, event: dict[str, Any]) -> None:
        try:
            connection.send(json.dumps({"jsonrpc": "2.0", "method": "rpc.event", "params": event}))
        except ConnectionClosed:
            return

    def drop(self) -> None:
        """End the connections without a close frame."""
        with self._changed:
            for connection in self._connections:
                connection.socket.shutdown(2)

    def wait_for_subscribers(self, number: int, timeout: float = 20.0) -> None:
        """Wait until so many subscriptions are there."""

        def there() -> bool:
            return sum(map(len, self._connections.values())) == number

        with self._changed:
            assert self._changed.wait_for(there, timeout)

    def wait_for_requests(self, number: int, timeout: float = 20.0) -> None:
        """Wait until so many subscriptions were made."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.subscribed) >= number, timeout)


@contextmanager
def topic_peer() -> Iterator[TopicPeer]:
    """Serve a TopicPeer at ws://127.0.0.1:PORT/ws."""
    peer = TopicPeer()
    with websocket_peer(peer.handle) as port:
        peer.address = f"ws://127.0.0.1:{port}/ws"
        yield peer
