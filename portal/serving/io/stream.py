"""Stream: bytes to and from one client, plain or over TLS. No method but `read_soon` waits.

A plain socket needs one system call for each read, even with a time limit: the kernel keeps the time (SO_RCVTIMEO). A
Python socket with a timeout calls `poll` first, every time.
"""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import sys
import termios
import threading
from collections.abc import Callable
from typing import Protocol

from ..._internal.log import get_logger
from ..._internal.openssl import NOT_READY, clear_error_queue, repeat_operation
from .output import Sink

__all__ = ["READ_SIZE", "PlainStream", "Stream", "TLSStream", "plain_stream"]

_log = get_logger("portal.serving")
READ_SIZE = 64 * 1024
_RECORD = 16 * 1024  # bytes of the largest TLS record
_HANG_UP = getattr(select, "POLLRDHUP", 0)
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: `close` resets the connection
_NOT_NOW = (BlockingIOError, InterruptedError)


class Stream(Sink, Protocol):
    """The bytes of one client. Threads: one may read while another writes."""

    secure: bool

    def fileno(self) -> int: ...

    def read_now(self, size: int = READ_SIZE) -> bytes | None:
        """Return what has arrived: b"" at the end of the stream, None if nothing has arrived. Never waits.

        Args:
            size: bytes to read from a plain socket at most. The poller reports the rest.
        """

    def read_soon(self) -> bytes | None:
        """Do the same as `read_now`, but wait for the linger time if nothing has arrived."""

    def shut_writing(self) -> None:
        """End the output. Raises: OSError if the client is gone."""

    def is_hung_up(self) -> bool:
        """Return whether the client has closed its side. False also where the system cannot tell that from data."""

    def is_broken(self) -> bool:
        """Return whether the connection is closed in both directions, for example by a reset."""

    def abort(self) -> None:
        """Break the connection. Any thread, even while another one uses the stream."""

    def reset(self) -> None:
        """Break the connection and drop what the system holds for the client. Any thread."""

    def close(self) -> None:
        """Close the socket. Only the thread that owns the connection calls this."""

    def discard(self) -> None:
        """Close this process's copy of the socket after a fork. The client does not notice."""


class _SocketStream:
    """A plain socket; the base of all streams."""

    __slots__ = ("_sock",)
    secure = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def count_unacknowledged(self) -> int:
        if sys.platform != "linux":
            return 0
        try:
            return int.from_bytes(fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    def is_hung_up(self) -> bool:
        fd = self._sock.fileno()
        return fd < 0 or (bool(_HANG_UP) and _wait(fd, _HANG_UP, 0.0))

    def is_broken(self) -> bool:
        fd = self._sock.fileno()
        return fd < 0 or _wait(fd, 0, 0.0)  # the system reports POLLERR and POLLHUP in any case

    def shut_writing(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        try:
            # Not the method of SSLSocket: it removes TLS first, and another thread might write in the clear then.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            _log.debug("a connection to be aborted was closed already")

    def reset(self) -> None:
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            _log.debug("a connection to be reset was closed already")
        self.abort()

    def close(self) -> None:
        self._sock.close()

    def discard(self) -> None:
        self._sock.close()


class PlainStream(_SocketStream):
    """A TCP or Unix socket on which the kernel limits the time of a read.

    Args:
        linger: seconds that `read_soon` waits.
    """

    __slots__ = ()

    def __init__(self, sock: socket.socket, linger: float) -> None:
        super().__init__(sock)
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(linger))

    def read_now(self, size: int = READ_SIZE) -> bytes | None:
        try:
            return self._sock.recv(size, _DONT_WAIT)
        except _NOT_NOW:
            return None

    def read_soon(self) -> bytes | None:
        try:
            return self._sock.recv(READ_SIZE)
        except _NOT_NOW:
            return None

    def send_some(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data, _DONT_WAIT)
        except _NOT_NOW:
            return 0


class _PolledStream(_SocketStream):
    """A non-blocking socket that waits with `poll`, for systems without MSG_DONTWAIT or SO_RCVTIMEO."""

    __slots__ = ("_linger",)

    def __init__(self, sock: socket.socket, linger: float) -> None:
        super().__init__(sock)
        self._linger = linger
        sock.setblocking(False)

    def read_now(self, size: int = READ_SIZE) -> bytes | None:
        try:
            return self._sock.recv(size)
        except _NOT_NOW:
            return None

    def read_soon(self) -> bytes | None:
        data = self.read_now()
        if data is None and _wait(self._sock.fileno(), select.POLLIN, self._linger):
            data = self.read_now()
        return data

    def send_some(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except _NOT_NOW:
            return 0


class TLSStream(_PolledStream):
    """A TLS connection on a socket.

    Two threads must not use OpenSSL's object of a connection at once. So a lock is held during each call of it, and
    none of these calls waits. A call that fails is repeated once: a broken connection of this thread may have left its
    error in OpenSSL's queue.

    Args:
        linger: seconds that `read_soon` waits.
        wrap: returns the TLS socket; the first `do_handshake` calls it.
    """

    __slots__ = ("_lock", "_wrap", "tls")
    secure = True

    def __init__(self, sock: socket.socket, linger: float, wrap: Callable[[socket.socket], ssl.SSLSocket]) -> None:
        super().__init__(sock, linger)
        self._lock = threading.Lock()
        self._wrap = wrap
        self.tls: ssl.SSLSocket | None = None

    def do_handshake(self) -> bool:
        """Continue the handshake with the bytes that have arrived.

        Returns: whether the handshake is complete.
        Raises: OSError if it has failed.
        """
        if self.tls is None:
            self._sock.getpeername()  # raises if the client is gone: `wrap` would leave a socket that nobody closes
            self.tls = self._wrap(self._sock)
            self._sock = self.tls
        clear_error_queue()
        try:
            self.tls.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    def detach(self) -> socket.socket:
        """Return the plain socket of a handshake that has failed. The stream cannot be used after that."""
        sock = self._sock if self.tls is None else socket.socket(fileno=self.tls.detach())
        self.tls = None
        return sock

    def read_now(self, size: int = READ_SIZE) -> bytes | None:
        """Return what has arrived: one record, or several if they are large.

        The poller reports further records: OpenSSL takes no more from the socket than the record that it decrypts.
        """
        assert self.tls is not None
        pieces: list[bytes] = []
        found = 0
        with self._lock:
            try:
                while piece := self._read():
                    if len(piece) < _RECORD and not pieces and not self.tls.pending():
                        return piece
                    pieces.append(piece)
                    found += len(piece)
                    if (len(piece) < _RECORD or found >= READ_SIZE) and not self.tls.pending():
                        break
            except NOT_READY:
                return b"".join(pieces) if pieces else None
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b"".join(pieces)
        return b"".join(pieces)

    def _read(self) -> bytes:
        assert self.tls is not None
        try:
            return self.tls.read(READ_SIZE)
        except OSError as error:
            return repeat_operation(self.tls.read, READ_SIZE, error)

    def send_some(self, data: bytes | memoryview) -> int:
        assert self.tls is not None
        with self._lock:
            try:
                return self.tls.write(data)
            except NOT_READY:
                return 0
            except OSError as error:
                try:
                    return repeat_operation(self.tls.write, data, error)
                except NOT_READY:
                    return 0

    def shut_writing(self) -> None:
        self._send_close_notify()
        socket.socket.shutdown(self._sock, socket.SHUT_WR)

    def close(self) -> None:
        self._send_close_notify()
        self._sock.close()

    def _send_close_notify(self) -> None:
        """Send close_notify (RFC 8446 section 6.1). Do not wait for the client's."""
        if self.tls is None:
            return
        with self._lock:
            clear_error_queue()
            try:
                self.tls.unwrap()
            except (OSError, ValueError) as error:
                _log.debug("a TLS connection ended without close_notify of the client: %s", error)


def _timeval(seconds: float) -> bytes:
    whole, part = divmod(max(1, round(seconds * 1_000_000)), 1_000_000)  # 0 would mean no limit
    return struct.pack("@ll", whole, part)


def _wait(fd: int, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(seconds * 1000))


def plain_stream(sock: socket.socket, linger: float) -> Stream:
    """Return the stream of a socket without TLS."""
    if _DONT_WAIT and hasattr(socket, "SO_RCVTIMEO"):
        return PlainStream(sock, linger)
    return _PolledStream(sock, linger)
