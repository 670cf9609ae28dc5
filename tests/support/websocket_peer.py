"""A WebSocket server of another library, the package `websockets`, in a thread."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

__all__ = ["respond_with", "websocket_peer"]


@contextmanager
def websocket_peer(
    handler: Callable[[ServerConnection], Any], tls: ssl.SSLContext | None = None, port: int = 0, **options: Any
) -> Iterator[int]:
    """Serve connections with `handler`, on a free port if 0; yield the port."""

    def handle(connection: ServerConnection) -> None:
        try:
            handler(connection)
        except ConnectionClosed:
            return

    with serve(handle, "127.0.0.1", port, ssl=tls, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


def respond_with(methods: dict[str, Callable[..., Any]]) -> Callable[[ServerConnection], None]:
    """Return a handler that responds to the JSON-RPC calls of some methods, one at a time."""

    def handle(connection: ServerConnection) -> None:
        for text in connection:
            request = json.loads(text)
            method = methods.get(request["method"])
            if "id" not in request:
                continue
            if method is None:
                reply: dict[str, Any] = {"error": {"code": -32601, "message": "no such method"}}
            else:
                params = request.get("params", {})
                reply = {"result": method(**params) if isinstance(params, dict) else method(*params)}
            connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}))

    return handle
