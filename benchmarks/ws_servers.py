"""Servers of the comparison over WebSockets: `python -m benchmarks.ws_servers KIND`; each prints its address."""

from __future__ import annotations

import json
import socket
import sys
import threading
from typing import Any

__all__ = ["SERVERS"]


def add(a: float, b: float) -> float:
    return a + b


def respond(text: str | bytes) -> tuple[str, Any]:
    """Return the method of a JSON-RPC request and the text of its response, or the data of "publish"."""
    request = json.loads(text)
    if request["method"] == "publish":
        return "publish", request["params"]
    result = add(**request["params"]) if request["method"] == "add" else None
    return request["method"], json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result})


def portal() -> None:
    from portal import function
    from portal.websocket.portal import WebSocketPortal
    from portal.websocket.server.settings import WebSocketConfig

    served = WebSocketPortal(
        config=WebSocketConfig(deflate=None, max_connections=20_000, max_connections_per_client=20_000)
    )
    address = served.apply(function(idempotent=True)(add))
    served.topic("news", publish_scopes=())
    with served:
        print(address, flush=True)
        sys.stdin.read()


def websockets() -> None:
    from websockets.sync.server import serve

    subscribers: list[Any] = []

    def handle(connection: Any) -> None:
        for text in connection:
            method, reply = respond(text)
            if method == "subscribe":
                subscribers.append(connection)
            if method != "publish":
                connection.send(reply)
                continue
            event = json.dumps({"jsonrpc": "2.0", "method": "event", "params": reply})
            for one in subscribers:
                one.send(event)

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        print(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/add", flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


def simple_websocket() -> None:
    from simple_websocket import ConnectionClosed, Server

    def handle(sock: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        environ: dict[str, Any] = {"werkzeug.socket": sock, "REQUEST_METHOD": "GET", "PATH_INFO": "/"}
        for line in head.decode("latin-1").split("\r\n")[1:-2]:
            name, _, value = line.partition(": ")
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        connection = Server(environ)
        try:
            while True:
                connection.send(respond(connection.receive())[1])
        except ConnectionClosed:
            sock.close()

    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"ws://127.0.0.1:{server.getsockname()[1]}/add", flush=True)

    def accept() -> None:
        while True:
            sock, _ = server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=handle, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


def socketio() -> None:
    """python-socketio with a thread for each client, on simple-websocket, as its documentation shows for Flask."""
    import logging

    import socketio as library
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # In order, and without pings while a thousand subscribers connect.
    server = library.Server(async_mode="threading", async_handlers=False, cors_allowed_origins="*", ping_interval=600)
    server.on("publish", lambda client, data: server.emit("event", data))
    listener = make_server("127.0.0.1", 0, library.WSGIApp(server), threaded=True)
    print(f"ws://127.0.0.1:{listener.server_port}/add", flush=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    sys.stdin.read()


def rpyc() -> None:
    import rpyc as library
    from rpyc.utils.server import ThreadedServer

    class Adder(library.Service):  # type: ignore[misc]
        exposed_add = staticmethod(add)

    server = ThreadedServer(Adder, hostname="127.0.0.1", port=0)
    print(f"rpyc://127.0.0.1:{server.port}", flush=True)
    threading.Thread(target=server.start, daemon=True).start()
    sys.stdin.read()


SERVERS = {
    "portal": portal,
    "websockets": websockets,
    "simple-websocket": simple_websocket,
    "socketio": socketio,
    "rpyc": rpyc,
    "rpyc-root": rpyc,
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
