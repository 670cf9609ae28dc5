"""A server of an attacker: it keeps what clients send, and responds as a real portal behind it, or with fixed bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Spy"]

_READ = 65_536


class Spy:
    """Listens on a free port of 127.0.0.1. Use it as a context manager.

    Args:
        backend: the port of a portal that it forwards to.
        response: what it sends instead, once for each connection.
        before: called before it sends the response.

    Attributes:
        port: where it listens.
        received: all bytes that clients have sent.
    """

    def __init__(
        self, backend: int | None = None, *, response: bytes = b"", before: Callable[[], object] = bool
    ) -> None:
        self._backend = backend
        self._response = response
        self._before = before
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port: int = self._server.getsockname()[1]
        self.received = b""
        self.reached = threading.Event()

    def __enter__(self) -> Spy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._server, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(30.0)

    def _start(self, run: object, *args: object) -> None:
        thread = threading.Thread(target=run, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._server.accept()[0]
                self._open.append(client)
                if self._backend is None:
                    self._start(self._answer, client)
                    continue
                backend = socket.create_connection(("127.0.0.1", self._backend))
                self._open.append(backend)
                self._start(self._forward, client, backend)
                self._start(self._return, backend, client)

    def _answer(self, client: socket.socket) -> None:
        with suppress(OSError):
            while b"\r\n\r\n" not in (data := client.recv(_READ)) and data:
                self._note(data)
            self._note(data)
            self._before()
            client.sendall(self._response)
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(_READ):
                self._note(data)

    def _note(self, data: bytes) -> None:
        self.received += data
        self.reached.set()

    def _forward(self, client: socket.socket, backend: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(_READ):
                self._note(data)
                backend.sendall(data)
            backend.shutdown(socket.SHUT_WR)

    def _return(self, backend: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := backend.recv(_READ):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
