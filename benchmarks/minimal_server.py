"""The least that an HTTP server in Python can do: a thread a connection, no validation, no limits, no errors.

It shows what the interpreter and the sockets allow. It is not a server to use, as any other request breaks it.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress

__all__ = ["serve"]


def serve(listener: socket.socket) -> None:
    """Respond to `POST {"a":..., "b":...}` with the sum on every connection; never returns."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve_connection, args=(connection,), daemon=True).start()


def _serve_connection(connection: socket.socket) -> None:
    with connection, suppress(ConnectionError):  # the client went away
        _serve_requests(connection)


def _serve_requests(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = b""
    while True:
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            data = connection.recv(65536)
            if not data:
                return
            buffer += data
        start, stop = end + 4, end + 4 + _content_length(buffer[:end])
        while len(buffer) < stop:
            data = connection.recv(65536)
            if not data:
                return
            buffer += data
        params = json.loads(buffer[start:stop])
        buffer = buffer[stop:]
        body = json.dumps(params["a"] + params["b"]).encode()
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
