"""Stream: bytes to and from one client, plain or over TLS, with a bound on every wait.

Reading comes in two kinds: what is there now, for the thread that watches all connections, and what comes within the
linger time, for a worker that has just answered. On a plain socket both are one system call each: the kernel keeps the
time (SO_RCVTIMEO, SO_SNDTIMEO), where a Python socket with a timeout asks `poll` first, every time.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from .._internal.openssl import clear_error_queue

__all__ = ["PlainStream", "Stream", "TLSStream", "plain_stream"]

_log = logging.getLogger("portal.serving")
_READ_SIZE = 64 * 1024
_MIN_RATE = 16 * 1024  # bytes a second that a peer must take of a long answer, beyond the write timeout
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
_NOT_NOW = (BlockingIOError, InterruptedError)


class Stream(Protocol):
    """One client's bytes. Reading is one thread's at a time; writing may go on beside it."""

    secure: bool

    def fileno(self) -> int: ...

    def read_now(self) -> bytes | None:
        """What has arrived; b"" at the end, None when nothing has. Never waits."""

    def read_soon(self) -> bytes | None:
        """As `read_now`, waiting the linger time."""

    def write(self, data: bytes) -> None:
        """Send all of `data`; ConnectionError when the peer is gone or takes too little of it in time."""

    def write_now(self, data: bytes) -> bool:
        """Send `data` if all of it can go at once; for threads that must not wait."""

    def shut_writing(self) -> None:
        """Say that nothing more will come. OSError when the peer is gone."""

    def abort(self) -> None:
        """Break the connection under whichever thread uses it."""

    def close(self) -> None:
        """Close the socket; for the thread that has the connection."""

    def discard(self) -> None:
        """Close this process's copy of the socket after a fork; the peer must not notice."""


def _gone() -> ConnectionAbortedError:
    return ConnectionAbortedError("the client takes no more of the answer")


def _abort(sock: socket.socket) -> None:
    try:
        # Not that of an SSLSocket: it takes TLS off first, and whoever writes at that moment would write in the clear.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        _log.debug("a connection to be broken was closed already")


class PlainStream:
    """A TCP or Unix socket.

    Args:
        linger: seconds that `read_soon` waits.
        write_timeout: seconds without progress after which a peer is given up.
    """

    __slots__ = ("_sock", "_write_timeout")
    secure = False

    def __init__(self, sock: socket.socket, linger: float, write_timeout: float) -> None:
        self._sock = sock
        self._write_timeout = write_timeout
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(linger))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(write_timeout))

    def fileno(self) -> int:
        return self._sock.fileno()

    def read_now(self) -> bytes | None:
        try:
            return self._sock.recv(_READ_SIZE, _DONT_WAIT)
        except _NOT_NOW:
            return None

    def read_soon(self) -> bytes | None:
        try:
            return self._sock.recv(_READ_SIZE)
        except _NOT_NOW:
            return None

    def write(self, data: bytes) -> None:
        try:
            sent = self._sock.send(data)
        except _NOT_NOW:
            raise _gone() from None
        if sent < len(data):
            self._write_rest(memoryview(data)[sent:])

    def _write_rest(self, view: memoryview) -> None:
        give_up = monotonic() + self._write_timeout + len(view) / _MIN_RATE
        while view:
            try:
                view = view[self._sock.send(view) :]
            except _NOT_NOW:
                raise _gone() from None
            if view and monotonic() > give_up:
                raise _gone()

    def write_now(self, data: bytes) -> bool:
        try:
            return self._sock.send(data, _DONT_WAIT) == len(data)
        except OSError:
            return False

    def shut_writing(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        _abort(self._sock)

    def close(self) -> None:
        self._sock.close()

    def discard(self) -> None:
        self._sock.close()


def _timeval(seconds: float) -> bytes:
    whole, part = divmod(max(1, round(seconds * 1_000_000)), 1_000_000)  # 0 would mean for ever
    return struct.pack("@ll", whole, part)


class _PolledStream:
    """A non-blocking socket that is waited for with `poll`; what `PlainStream` is where the kernel keeps no time."""

    __slots__ = ("_linger", "_sock", "_write_timeout")
    secure = False

    def __init__(self, sock: socket.socket, linger: float, write_timeout: float) -> None:
        self._sock = sock
        self._linger = linger
        self._write_timeout = write_timeout
        sock.setblocking(False)

    def fileno(self) -> int:
        return self._sock.fileno()

    def read_now(self) -> bytes | None:
        try:
            return self._sock.recv(_READ_SIZE)
        except _NOT_NOW:
            return None

    def read_soon(self) -> bytes | None:
        data = self.read_now()
        if data is None and _wait(self._sock.fileno(), False, self._linger):
            data = self.read_now()
        return data

    def _send(self, view: memoryview) -> int:
        try:
            return self._sock.send(view)
        except _NOT_NOW:
            return 0

    def write(self, data: bytes) -> None:
        view = memoryview(data)[self._send(memoryview(data)) :]
        if not view:
            return
        end = monotonic() + self._write_timeout + len(view) / _MIN_RATE
        while view:
            left = min(self._write_timeout, end - monotonic())
            if left <= 0 or not _wait(self._sock.fileno(), True, left):
                raise _gone()
            view = view[self._send(view) :]

    def write_now(self, data: bytes) -> bool:
        try:
            return self._send(memoryview(data)) == len(data)
        except OSError:
            return False

    def shut_writing(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        _abort(self._sock)

    def close(self) -> None:
        self._sock.close()

    def discard(self) -> None:
        self._sock.close()


class TLSStream(_PolledStream):
    """A TLS connection on a socket.

    OpenSSL's object must not be read and written by two threads at once, so a lock is held around each call of it;
    none of them waits. The error queue is emptied before each, as a broken connection of this thread may have left an
    error there.

    Args:
        wrap: gives the TLS socket; called by the first `do_handshake`.
    """

    __slots__ = ("_lock", "_wrap", "tls")
    secure = True

    def __init__(
        self,
        sock: socket.socket,
        linger: float,
        write_timeout: float,
        wrap: Callable[[socket.socket], ssl.SSLSocket],
    ) -> None:
        super().__init__(sock, linger, write_timeout)
        self._lock = threading.Lock()
        self._wrap = wrap
        self.tls: ssl.SSLSocket | None = None

    def do_handshake(self) -> bool:
        """Go on with the handshake as far as what has arrived allows; whether it is done. OSError when it failed."""
        if self.tls is None:
            # Of a client that is gone already, wrapping would leave a socket behind that nobody closes.
            self._sock.getpeername()
            self.tls = self._wrap(self._sock)
            self._sock = self.tls
        try:
            self.tls.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    def without_tls(self) -> socket.socket:
        """The bare socket of a handshake that failed; the stream is of no use after it."""
        sock = self._sock if self.tls is None else socket.socket(fileno=self.tls.detach())
        self.tls = None
        return sock

    def read_now(self) -> bytes | None:
        assert self.tls is not None
        pieces: list[bytes] = []
        size = 0
        with self._lock:
            clear_error_queue()
            try:
                # A record may be decrypted that no event will tell of any more, so all of it is taken.
                while size < _READ_SIZE or self.tls.pending():
                    piece = self.tls.recv(_READ_SIZE)
                    if not piece:
                        break
                    pieces.append(piece)
                    size += len(piece)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return b"".join(pieces) if pieces else None
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b"".join(pieces)
        return b"".join(pieces)

    def _send(self, view: memoryview) -> int:
        assert self.tls is not None
        with self._lock:
            clear_error_queue()
            try:
                return self.tls.send(view)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return 0

    def shut_writing(self) -> None:
        self._say_goodbye()
        socket.socket.shutdown(self._sock, socket.SHUT_WR)

    def close(self) -> None:
        self._say_goodbye()
        self._sock.close()

    def _say_goodbye(self) -> None:
        """Send close_notify (RFC 8446 section 6.1), without waiting for the peer's."""
        if self.tls is None:
            return
        with self._lock:
            clear_error_queue()
            try:
                self.tls.unwrap()
            except (OSError, ValueError) as error:
                _log.debug("no farewell from the peer of a TLS connection: %s", error)


def _wait(fd: int, writing: bool, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT if writing else select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def plain_stream(sock: socket.socket, linger: float, write_timeout: float) -> Stream:
    """The stream of a socket without TLS."""
    if _DONT_WAIT and hasattr(socket, "SO_RCVTIMEO"):
        return PlainStream(sock, linger, write_timeout)
    return _PolledStream(sock, linger, write_timeout)
