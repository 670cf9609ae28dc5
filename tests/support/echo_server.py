"""A server that responds to each piece of data with the same bytes in upper case, and keeps what it got."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["EchoServer", "echo_server"]


class EchoServer:
    """Accepts connections until it is closed; a thread serves each."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.received = b""
        self.ended = threading.Event()  # a client has ended its connection
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for(self, data: bytes, timeout: float = 10.0) -> bool:
        """Return whether the server gets these bytes in time."""
        with self._changed:
            return self._changed.wait_for(lambda: data in self.received, timeout)

    def close(self) -> None:
        """Close the server and its connections."""
        for sock in (self._listening, *self._sockets):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the peer has closed it
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                while data := sock.recv(65_536):
                    with self._changed:
                        self.received += data
                        self._changed.notify_all()
                    sock.sendall(data.upper())
            except OSError:
                return  # the proxy has reset it
            finally:
                self.ended.set()


@contextmanager
def echo_server() -> Iterator[EchoServer]:
    """Run an EchoServer."""
    server = EchoServer()
    try:
        yield server
    finally:
        server.close()
