"""The common HTTP/1.1 exchange on a connection of our own: plain TCP, a Content-Length or chunked answer.

`requests` and `urllib3` spend most of a short call on header objects and on parsing them with the e-mail package; here
an exchange is one write and, mostly, one read. TLS, and whatever else is unusual, stays with urllib3.
Source: RFC 9112.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Generator, Iterator
from math import frexp
from struct import pack
from time import monotonic
from typing import Protocol

from ...errors import ProtocolError
from ...http11.chunked import ChunkedDecoder
from ...http11.response_head import BODILESS, parse_response_head

__all__ = ["Answer", "HTTPConnection", "Keeper", "NotSent", "StaleConnection"]

_READ_SIZE = 64 * 1024
_MAX_HEAD = 64 * 1024
_MAX_INTERIM = 16  # 1xx answers before the final one
_NO_LIMIT = 1 << 62
_SHORTEST, _LONGEST = -9, 5  # exponents of two: slices of 2 ms to 32 s
_UNSET = -99
_A_SLICE = 32.0  # seconds


class NotSent(OSError):
    """No byte of the request has reached the server."""


class StaleConnection(ConnectionError):
    """The server closed a kept connection without a byte of an answer, perhaps before it read the request."""


class HTTPConnection:
    """One connection. One thread at a time.

    The kernel keeps the time of a read or a write (SO_RCVTIMEO, SO_SNDTIMEO), in slices of a power of two seconds, so
    that most calls need not set it: where a Python socket has a timeout of its own, each call costs a `poll` more.

    Attributes:
        used: exchanges made on it.
    """

    __slots__ = ("_buffer", "_poll", "_read_timeout", "_slice", "_sock", "used")

    def __init__(self, sock: socket.socket, read_timeout: float | None = None) -> None:
        sock.settimeout(None)
        self._read_timeout = read_timeout
        self._sock = sock
        self._buffer = b""
        self._slice = _UNSET
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self.used = 0

    def is_dropped(self) -> bool:
        """Whether the server has closed it, or sent what nobody asked for, while it was idle."""
        return bool(self._buffer) or bool(self._poll.poll(0))

    def send(self, data: bytes, deadline: float | None) -> None:
        """Write a whole request. TimeoutError at the deadline; OSError when the connection is lost."""
        self.used += 1
        self._limit(deadline)
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:], deadline)

    def _send_rest(self, view: memoryview, deadline: float | None) -> None:
        while view:
            self._limit_exactly(deadline)
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                continue

    def receive(self, deadline: float | None) -> bytes:
        """What comes next, at most 64 KiB; b"" at the end. TimeoutError at the deadline or after the time to read."""
        if self._read_timeout is not None:
            limit = monotonic() + self._read_timeout
            deadline = limit if deadline is None else min(deadline, limit)
        self._limit(deadline)
        while True:
            try:
                return self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                self._limit_exactly(deadline)

    def _limit_exactly(self, deadline: float | None) -> None:
        """Let the next read or write last just what is left: a slice was too short, and each one ends a bit late."""
        left = _A_SLICE if deadline is None else deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._set_timeout(min(left, _A_SLICE))
        self._slice = _UNSET

    def _limit(self, deadline: float | None) -> None:
        """Let the next read or write last no longer than what is left."""
        exponent = _LONGEST
        if deadline is not None:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError("the deadline has passed")
            exponent = max(_SHORTEST, min(_LONGEST, frexp(left)[1] - 1))
        if exponent != self._slice:
            self._set_timeout(2.0**exponent)
            self._slice = exponent

    def _set_timeout(self, seconds: float) -> None:
        whole, part = divmod(max(1000, int(seconds * 1_000_000)), 1_000_000)
        timeval = pack("@ll", whole, part)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def read_head(self, deadline: float | None) -> tuple[int, dict[str, str], bool]:
        """Status, headers by lower-case name, and whether the connection may be kept; interim answers are passed over.

        Raises: StaleConnection, TimeoutError, OSError; ProtocolError for what is no HTTP/1.1 answer.
        """
        for _ in range(_MAX_INTERIM):
            status, headers, keep = self._read_one_head(deadline)
            if status >= 200:
                return status, headers, keep
            if status == 101:
                raise ProtocolError("the server changes to a protocol that nobody asked for")
        raise ProtocolError("the server sent only interim answers")

    def _read_one_head(self, deadline: float | None) -> tuple[int, dict[str, str], bool]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise ProtocolError(f"the head of the answer is longer than {_MAX_HEAD} bytes")
            data = self.receive(deadline)
            if not data:
                if self._buffer or self.used < 2:
                    raise ConnectionResetError("the server closed the connection without an answer")
                raise StaleConnection("the server closed the connection without an answer")
            self._buffer = self._buffer + data if self._buffer else data
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        return parse_response_head(head)

    @property
    def waiting(self) -> int:
        """Bytes read beyond the head."""
        return len(self._buffer)

    def take(self) -> bytes:
        """What was read beyond the head."""
        data, self._buffer = self._buffer, b""
        return data

    def give_back(self, data: bytes) -> None:
        """Keep what belongs to no answer, so that the connection is known to be of no more use."""
        self._buffer = data

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class Keeper(Protocol):
    """Whose connections they are between two exchanges."""

    def put(self, wire: HTTPConnection, keep: bool) -> None:
        """Take a connection back after an answer was read to its end."""


class Answer:
    """An answer whose head has been read.

    Attributes:
        status, headers: of the head.

    The connection goes back to its pool at the end of the body, and is closed by `close` before that.
    Threads: one at a time.
    """

    __slots__ = ("_deadline", "_keep", "_pool", "_wire", "headers", "status")

    def __init__(self, pool: Keeper, wire: HTTPConnection, deadline: float | None) -> None:
        self._pool = pool
        self._wire: HTTPConnection | None = wire
        self._deadline = deadline
        self.status, self.headers, self._keep = wire.read_head(deadline)

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. Raises: TimeoutError, OSError when it is cut off, ProtocolError."""
        wire = self._wire
        if wire is None:
            return
        try:
            if self.status in BODILESS:
                rest = wire.take()  # whatever length it tells, there is none (RFC 9112 section 6.3)
            elif "transfer-encoding" in self.headers:
                rest = yield from self._chunked(wire)
            elif "content-length" in self.headers:
                rest = yield from self._sized(wire)
            else:
                rest = yield from self._until_closed(wire)
        except BaseException:
            self.close()
            raise
        wire.give_back(rest)
        self._wire = None
        self._pool.put(wire, self._keep and not rest)

    def whole(self) -> bytes | None:
        """The body, if all of it came with the head and nothing more did; else None, and `pieces` gives it."""
        wire = self._wire
        if (
            wire is None
            or self.headers.get("content-length") != str(wire.waiting)
            or "transfer-encoding" in self.headers
            or self.status in BODILESS
        ):
            return None
        body = wire.take()
        self._wire = None
        self._pool.put(wire, self._keep)
        return body

    def _sized(self, wire: HTTPConnection) -> Generator[bytes, None, bytes]:
        text = self.headers["content-length"]
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise ProtocolError("a bad Content-Length in the answer")
        left = int(text)
        data = wire.take()
        while True:
            if len(data) > left:
                # What was cut short may read well all the same: 32 as 3.
                raise ProtocolError("the answer is longer than its Content-Length")
            if data:
                yield data
            if len(data) == left:
                return b""
            left -= len(data)
            data = self._more(wire)

    def _chunked(self, wire: HTTPConnection) -> Generator[bytes, None, bytes]:
        if self.headers["transfer-encoding"].lower() != "chunked":
            raise ProtocolError("the transfer coding of the answer is not known")
        decoder = ChunkedDecoder(_NO_LIMIT)
        piece = decoder.feed(wire.take())
        while True:
            if piece:
                yield piece
            if decoder.complete:
                return bytes(decoder.remainder)
            piece = decoder.feed(self._more(wire))

    def _until_closed(self, wire: HTTPConnection) -> Generator[bytes, None, bytes]:
        self._keep = False
        data = wire.take()
        while True:
            if data:
                yield data
            data = wire.receive(self._deadline)
            if not data:
                return b""

    def _more(self, wire: HTTPConnection) -> bytes:
        data = wire.receive(self._deadline)
        if not data:
            raise ConnectionResetError("the answer was cut off")
        return data

    def close(self) -> None:
        """Give the answer up: what is left of it is not read and its connection is closed."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
