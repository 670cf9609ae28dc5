"""HTTPConnection: one HTTP/1.1 connection.

`requests` and `urllib3` spend most of a short call on header objects, which they parse with the e-mail package. Here an
exchange is one write and, mostly, one read. `tls_connection.py` adds TLS; proxies stay with urllib3.

Source: RFC 9112.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from contextlib import suppress
from math import frexp
from struct import pack
from time import monotonic
from typing import Protocol

from ...errors import ProtocolError
from ...http11.response_head import parse_response_head
from ...network.dial import StaleConnection
from .response import ConnectionResponse

__all__ = ["ConnectionOwner", "HTTPConnection"]

_READ_SIZE = 64 * 1024
_START = b"HTTP/"
_MAX_HEAD = 64 * 1024
_MAX_INTERIM = 16  # 1xx responses before the final one
_MIN_TIMEOUT, _MAX_TIMEOUT = 2.0**-9, 32.0  # seconds; powers of two
_UNSET = 0.0

_RESET = pack("ii", 1, 0)  # SO_LINGER with no time: `close` resets the connection


class ConnectionOwner(Protocol):
    """The pool that keeps a connection between two exchanges."""

    def put(self, connection: HTTPConnection) -> None:
        """Take a connection back after a response was read to its end."""


class HTTPConnection:
    """One connection. Threads: one at a time; another may call `abort`.

    The kernel enforces the timeout of each read and write (SO_RCVTIMEO, SO_SNDTIMEO). With a timeout of a Python socket
    each call would cost a `poll`. The timeout is a power of two seconds, so that most calls need not set it.

    Args:
        sock: the connected socket, which the connection closes.
        owner: keeps the connection between two exchanges.
        read_timeout: seconds that a server may send nothing; None for no limit but the deadline.
    """

    __slots__ = ("_buffer", "_exchanges", "_owner", "_poll", "_read_timeout", "_sock", "_timeout")

    def __init__(self, sock: socket.socket, owner: ConnectionOwner, read_timeout: float | None = None) -> None:
        sock.settimeout(None)
        self._sock = sock
        self._owner = owner
        self._read_timeout = read_timeout
        self._buffer = b""
        self._timeout = _UNSET  # that of the kernel
        self._exchanges = 0
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def is_dropped(self) -> bool:
        """Return whether the server has closed the idle connection, or sent something without a request."""
        return bool(self._buffer) or bool(self._poll.poll(0))

    def exchange(self, request: bytes, deadline: float | None, pieces: Iterable[bytes] = ()) -> ConnectionResponse:
        """Send a whole request and read the head of its response. On an error the connection is closed.

        Args:
            request: the head, and the body unless it comes in pieces.
            pieces: the body of a request with files. A server may respond before it has read all of it.

        Raises: StaleConnection; TimeoutError at the deadline; OSError when the connection is lost; ProtocolError for
            anything but an HTTP/1.1 response.
        """
        self._exchanges += 1
        try:
            self._set_timeout(deadline)
            try:
                sent = self._sock.send(request)
            except BlockingIOError:
                sent = 0
            if sent < len(request):
                self._send_rest(memoryview(request)[sent:], deadline)
            try:
                for piece in pieces:
                    self._send_rest(memoryview(piece), deadline)
            except (BrokenPipeError, ConnectionResetError):
                if not self._poll.poll(0):
                    raise  # otherwise there is a response
            return ConnectionResponse(self, deadline)
        except BaseException:
            self.close()
            raise

    def _send_rest(self, view: memoryview, deadline: float | None) -> None:
        while view:
            self._set_exact_timeout(deadline)
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                continue

    def receive(self, deadline: float | None) -> bytes:
        """Return what arrives next, at most 64 KiB; b"" at the end.

        Raises: TimeoutError at the deadline or after `read_timeout`; OSError when the connection is lost.
        """
        if self._read_timeout is not None:
            limit = monotonic() + self._read_timeout
            deadline = limit if deadline is None else min(deadline, limit)
        self._set_timeout(deadline)
        while True:
            try:
                return self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                self._set_exact_timeout(deadline)

    def _set_timeout(self, deadline: float | None) -> None:
        """Let the next read or write end before the deadline; it may end too early."""
        left = _MAX_TIMEOUT if deadline is None else deadline - monotonic()
        timeout = self._timeout
        if timeout <= left < timeout + timeout:  # nearly always
            return
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        timeout = min(max(_MIN_TIMEOUT, 2.0 ** (frexp(left)[1] - 1)), _MAX_TIMEOUT)
        if timeout != self._timeout:
            self._set_kernel_timeout(timeout)
            self._timeout = timeout

    def _set_exact_timeout(self, deadline: float | None) -> None:
        """Let the next read or write end at the deadline, after one with a power of two has ended too early."""
        left = _MAX_TIMEOUT if deadline is None else deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._set_kernel_timeout(min(left, _MAX_TIMEOUT))
        self._timeout = _UNSET

    def _set_kernel_timeout(self, seconds: float) -> None:
        whole, part = divmod(max(1000, int(seconds * 1_000_000)), 1_000_000)
        timeval = pack("@ll", whole, part)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def read_head(self, deadline: float | None) -> tuple[int, dict[str, str], bool]:
        """Return status, headers by lower-case name, and whether the connection may be kept.

        Interim responses are skipped.

        Raises: as `exchange`.
        """
        for _ in range(_MAX_INTERIM):
            found = self._read_one_head(deadline)
            if found[0] >= 200:
                return found
            if found[0] == 101:
                raise ProtocolError("the server changed to another protocol without a request for it")
        raise ProtocolError(f"the server sent {_MAX_INTERIM} interim responses and no final one")

    def _read_one_head(self, deadline: float | None) -> tuple[int, dict[str, str], bool]:
        data = self._buffer or self._receive_more_head(deadline)
        while (end := data.find(b"\r\n\r\n")) < 0:
            if not data.startswith(_START[: len(data)]):  # such as the greeting of another protocol
                raise ProtocolError(f"the server does not speak HTTP; it sent {data[:80]!r}")
            if len(data) > _MAX_HEAD:
                raise ProtocolError(f"the head of the response must have at most {_MAX_HEAD} bytes")
            self._buffer = data
            data += self._receive_more_head(deadline)
        self._buffer = data[end + 4 :]
        return parse_response_head(data[:end])

    def _receive_more_head(self, deadline: float | None) -> bytes:
        data = self.receive(deadline)
        if not data:
            if self._buffer or self._exchanges < 2:
                raise ConnectionResetError("the server closed the connection without a response")
            raise StaleConnection("the server closed the connection without a response")
        return data

    def take_whole(self, length: str | None) -> bytes | None:
        """Return the bytes read beyond the head, and empty the buffer, if they are `length` bytes; otherwise None."""
        data = self._buffer
        if str(len(data)) != length:
            return None
        self._buffer = b""
        return data

    def take_buffered(self) -> bytes:
        """Return the bytes read beyond the head, and empty the buffer."""
        data, self._buffer = self._buffer, b""
        return data

    def check_end(self) -> None:
        """Reject an end of the connection that does not end a body; over TLS the server announces its end."""

    def release(self, keep: bool) -> None:
        """Give the connection back to its owner at the end of a response, or close it."""
        if keep:
            self._owner.put(self)
        else:
            self.close()

    def abort(self) -> None:
        """End the exchange of another thread, which gets an error. The socket is not closed here.

        The server sees a reset when that thread closes the socket, so that it can cancel the call. A plain end would
        look like a client that has closed only its own side.
        """
        with suppress(OSError):  # the server has closed the connection meanwhile
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
