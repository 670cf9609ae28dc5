"""The least that an HTTP server in Python can do: no validation, no limits, no errors.

It shows what the interpreter and the sockets allow. It is not a server to use, as any other request breaks it.
"""

from __future__ import annotations

import json
import selectors
import socket
import threading
from contextlib import suppress

__all__ = ["serve", "serve_in_one_thread"]


def serve(listener: socket.socket) -> None:
    """Respond to `POST {"a":..., "b":...}` with the sum, a thread for each connection; never returns."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve_connection, args=(connection,), daemon=True).start()


def serve_in_one_thread(listener: socket.socket) -> None:
    """Respond to the same requests from one thread that waits for all connections; never returns."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        buffers: dict[int, bytes] = {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    buffers[connection.fileno()] = b""
                    selector.register(connection, selectors.EVENT_READ)
                    continue
                connection = key.fileobj  # type: ignore[assignment]
                try:
                    data = connection.recv(65536)
                    response, buffers[key.fd] = _respond(buffers[key.fd] + data)
                    if response:
                        connection.sendall(response)
                except ConnectionError:
                    data = b""
                if not data:
                    selector.unregister(connection)
                    connection.close()


def _serve_connection(connection: socket.socket) -> None:
    with connection, suppress(ConnectionError):  # the client went away
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = b""
        while data := connection.recv(65536):
            response, buffer = _respond(buffer + data)
            if response:
                connection.sendall(response)


def _respond(buffer: bytes) -> tuple[bytes, bytes]:
    """Return the response to the request in `buffer`, empty while it is incomplete, and the bytes after it."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return b"", buffer
    start, stop = end + 4, end + 4 + _content_length(buffer[:end])
    if len(buffer) < stop:
        return b"", buffer
    params = json.loads(buffer[start:stop])
    body = json.dumps(params["a"] + params["b"]).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body, buffer[stop:]


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
