"""The common HTTP/1.1 exchange on a connection of our own: plain TCP, a Content-Length or chunked answer.

`requests` and `urllib3` spend most of a short call on header objects and on parsing them with the e-mail package; here
an exchange is one write and, mostly, one read. TLS, and whatever else is unusual, stays with urllib3.
Source: RFC 9112.
"""

from __future__ import annotations

import os
import re
import select
import socket
import threading
from collections import deque
from collections.abc import Generator, Iterator
from time import monotonic

from ..errors import ProtocolError
from ..serving.body import ChunkedDecoder

__all__ = ["Answer", "NotSent", "StaleConnection", "Wire", "WirePool"]

_READ_SIZE = 64 * 1024
_MAX_HEAD = 64 * 1024
_MAX_INTERIM = 16  # 1xx answers before the final one
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_NO_LIMIT = 1 << 62


class NotSent(OSError):
    """No byte of the request has reached the server."""


class StaleConnection(ConnectionError):
    """The server closed a kept connection without a byte of an answer, perhaps before it read the request."""


class Wire:
    """One connection. One thread at a time.

    Attributes:
        used: exchanges made on it.
    """

    __slots__ = ("_buffer", "_sock", "used")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self.used = 0

    def is_dropped(self) -> bool:
        """Whether the server has closed it, or sent what nobody asked for, while it was idle."""
        try:
            return bool(self._buffer) or _readable(self._sock)
        except (OSError, ValueError):
            return True

    def send(self, data: bytes, deadline: float | None) -> None:
        """Write a whole request. TimeoutError at the deadline; OSError when the connection is lost."""
        self._limit(deadline)
        self.used += 1
        self._sock.sendall(data)

    def read_head(self, deadline: float | None) -> tuple[int, dict[str, str], bool]:
        """Status, headers by lower-case name, and whether the connection may be kept; interim answers are passed over.

        Raises: StaleConnection, TimeoutError, OSError; ProtocolError for what is no HTTP/1.1 answer.
        """
        for _ in range(_MAX_INTERIM):
            status, headers, keep = self._read_one_head(deadline)
            if status >= 200:
                return status, headers, keep
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
            self._buffer += data
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        return _parse_head(head)

    def receive(self, deadline: float | None) -> bytes:
        """What comes next, at most 64 KiB; b"" at the end."""
        self._limit(deadline)
        return self._sock.recv(_READ_SIZE)

    def take(self) -> bytes:
        """What was read beyond the head."""
        data, self._buffer = self._buffer, b""
        return data

    def give_back(self, data: bytes) -> None:
        """Keep what belongs to no answer, so that the connection is known to be of no more use."""
        self._buffer = data

    def _limit(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            raise TimeoutError("the deadline has passed")
        self._sock.settimeout(left)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _parse_head(head: bytes) -> tuple[int, dict[str, str], bool]:
    first, *lines = head.split(b"\r\n")
    match = _STATUS.fullmatch(first)
    if match is None:
        raise ProtocolError(f"this is no HTTP/1.1 answer: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise ProtocolError(f"a bad header line in the answer: {line[:80]!r}")
        key = name.decode("latin-1").lower()
        text = value.strip(b" \t").decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    connection = headers.get("connection", "").lower()
    keep = "close" not in connection and (match[1] == b"1" or "keep-alive" in connection)
    return int(match[2]), headers, keep


class Answer:
    """An answer whose head has been read.

    Attributes:
        status, headers: of the head.

    The connection goes back to its pool at the end of the body, and is closed by `close` before that.
    Threads: one at a time.
    """

    __slots__ = ("_deadline", "_keep", "_pool", "_wire", "headers", "status")

    def __init__(self, pool: WirePool, wire: Wire, deadline: float | None) -> None:
        self._pool = pool
        self._wire: Wire | None = wire
        self._deadline = deadline
        self.status, self.headers, self._keep = wire.read_head(deadline)

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. Raises: TimeoutError, OSError when it is cut off, ProtocolError."""
        wire = self._wire
        if wire is None:
            return
        try:
            if self.status in (204, 304):
                rest = wire.take()
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

    def _sized(self, wire: Wire) -> Generator[bytes, None, bytes]:
        text = self.headers["content-length"]
        if not (text.isascii() and text.isdigit()):
            raise ProtocolError("a bad Content-Length in the answer")
        left = int(text)
        data = wire.take()
        while True:
            if data:
                yield data[:left]
            if len(data) >= left:
                return data[left:]
            left -= len(data)
            data = self._more(wire)

    def _chunked(self, wire: Wire) -> Generator[bytes, None, bytes]:
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

    def _until_closed(self, wire: Wire) -> Generator[bytes, None, bytes]:
        self._keep = False
        data = wire.take()
        while True:
            if data:
                yield data
            data = wire.receive(self._deadline)
            if not data:
                return b""

    def _more(self, wire: Wire) -> bytes:
        data = wire.receive(self._deadline)
        if not data:
            raise ConnectionResetError("the answer was cut off")
        return data

    def close(self) -> None:
        """Give the answer up: what is left of it is not read and its connection is closed."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()


class WirePool:
    """Kept connections to one host and port.

    Args:
        size: how many idle ones are kept; more are opened when needed and closed after use.

    Threads: any; the connection used last is taken first, so that the others can grow stale and be dropped.
    """

    def __init__(self, host: str, port: int, *, size: int = 32, connect_timeout: float = 5.0) -> None:
        self._host = host
        self._port = port
        self._size = size
        self._connect_timeout = connect_timeout
        self._idle: deque[Wire] = deque()
        self._lock = threading.Lock()  # guards `_closed` against a connection that comes back late
        self._closed = False
        self._pid = os.getpid()

    def exchange(self, request: bytes, deadline: float | None) -> Answer:
        """Send a request and read the head of its answer.

        Raises: NotSent when no connection could be made; StaleConnection, TimeoutError, OSError, ProtocolError as the
            connection does.
        """
        wire = self._take(deadline)
        try:
            wire.send(request, deadline)
            return Answer(self, wire, deadline)
        except BaseException:
            wire.close()
            raise

    def _take(self, deadline: float | None) -> Wire:
        if self._pid != os.getpid():
            self._idle.clear()  # the parent's connections, which are the parent's to use
            self._pid = os.getpid()
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return self._connect(deadline)
            if not wire.is_dropped():
                return wire
            wire.close()

    def _connect(self, deadline: float | None) -> Wire:
        timeout = self._connect_timeout
        if deadline is not None:
            timeout = min(timeout, deadline - monotonic())
            if timeout <= 0:
                raise TimeoutError("the deadline has passed")
        try:
            sock = socket.create_connection((self._host, self._port), timeout)
        except (OSError, UnicodeError) as error:
            raise NotSent(str(error)) from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(sock)

    def put(self, wire: Wire, keep: bool) -> None:
        """Take a connection back after an answer was read to its end."""
        with self._lock:
            if keep and not self._closed and len(self._idle) < self._size:
                self._idle.append(wire)
                return
        wire.close()

    def close(self) -> None:
        """Close the idle connections; those in use close after their answer."""
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
        for wire in idle:
            wire.close()
