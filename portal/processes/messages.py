"""MessageSocket: whole messages over a pair of sockets, with a time limit in both directions.

A process may be stopped in the middle of a message. `multiprocessing.connection` then waits without limit.
"""

from __future__ import annotations

import socket
import struct
from time import monotonic

__all__ = ["MessageSocket"]

_HEADER = struct.Struct("!Q")  # bytes of the message
_SMALL = 65_536  # bytes that are joined with their header
_PIECE = 1_048_576  # bytes of one read at most


class MessageSocket:
    """Sends and receives messages.

    Args:
        connected: one end of a pair of sockets.

    Threads: one at a time; `close` from any.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._timeout = connected.gettimeout()
        self._received = bytearray()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def send(self, data: bytes, timeout: float | None = None) -> None:
        """Send a message.

        Raises: TimeoutError after `timeout` seconds; then nothing more may be sent. OSError if the other end is closed.
        """
        end = None if timeout is None else monotonic() + timeout
        header = _HEADER.pack(len(data))
        for part in (header + data,) if len(data) < _SMALL else (header, data):
            rest = memoryview(part)
            while rest:
                self._limit(end)
                rest = rest[self._socket.send(rest) :]

    def receive(self, timeout: float | None = None) -> bytes:
        """Return the next message.

        Raises: TimeoutError after `timeout` seconds; EOFError or OSError if the other end is closed.
        """
        end = None if timeout is None else monotonic() + timeout
        self._fill(_HEADER.size, end)
        size = _HEADER.size + _HEADER.unpack_from(self._received)[0]
        self._fill(size, end)
        message = bytes(self._received[_HEADER.size : size])
        del self._received[:size]
        return message

    def _fill(self, size: int, end: float | None) -> None:
        """Receive until there are so many bytes."""
        while len(self._received) < size:
            self._limit(end)
            piece = self._socket.recv(min(max(_SMALL, size - len(self._received)), _PIECE))
            if not piece:
                raise EOFError("the other end is closed")
            self._received += piece

    def _limit(self, end: float | None) -> None:
        left = None if end is None else end - monotonic()
        if left is not None and left <= 0:
            raise TimeoutError("the message was not complete in time")
        if left != self._timeout:  # each change is a system call
            self._socket.settimeout(left)
            self._timeout = left

    def close(self) -> None:
        """Close this end. May be called twice."""
        self._socket.close()
