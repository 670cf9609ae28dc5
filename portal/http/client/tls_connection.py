"""TLSConnection: one HTTP/1.1 connection over TLS.

OpenSSL works on memory, not on the socket. The kernel limits each read of the socket, as on a plain connection, so a
server that sends one byte of a record at a time cannot hold its caller beyond the deadline.

Sources: RFC 8446 (TLS 1.3), RFC 6066 section 3 (server name), RFC 9112 section 9.8 (the end of a connection).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from ..._internal.openssl import NOT_READY, repeat_operation
from ...network.tunnel import set_timeout
from .connection import ConnectionOwner, HTTPConnection
from .response import ConnectionResponse

__all__ = ["SessionOwner", "TLSConnection", "TLSState", "start_tls"]

_READ_SIZE = 64 * 1024
_MAX_IDLE_READS = 8  # for the tickets of an idle connection; a server that sends more is not waited for
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class SessionOwner(ConnectionOwner, Protocol):
    """The pool that keeps a connection between two exchanges, and its session for new connections."""

    def keep_session(self, session: ssl.SSLSession | None) -> None:
        """Keep the session of a connection for the next one to the same server."""


class TLSState:
    """One TLS connection without its socket.

    Args:
        context: what the client trusts, and its certificate.
        host: the name that the server's certificate must have.
        session: of an earlier connection to the same server with the same context, or None.

    Threads: one at a time.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext, host: str, session: ssl.SSLSession | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host, session=session)

    @property
    def has_input(self) -> bool:
        """Whether bytes have arrived that are not decrypted."""
        return self._incoming.pending > 0

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session with which a later connection can resume; complete after the first response."""
        return self._tls.session

    @property
    def resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return bool(self._tls.session_reused)

    def do_handshake(self) -> bool:
        """Continue the handshake and return whether it is complete. Raises: ssl.SSLError if it has failed."""
        try:
            self._tls.do_handshake()
        except OSError as error:
            try:
                repeat_operation(_handshake, self._tls, error)
            except NOT_READY:
                return False
        return True

    def feed(self, data: bytes) -> None:
        """Take bytes that have arrived; b"" for the end of the connection."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Return the bytes to send for `data`, after all that had to be sent before. Raises: ssl.SSLError."""
        write = self._tls.write
        try:
            written = write(data)
        except OSError as error:
            written = repeat_operation(write, data, error)
        if written < len(data):  # a record has at most 16 KiB
            view = memoryview(data)[written:]
            while view:
                view = view[write(view) :]
        return self._outgoing.read()

    def decrypt(self) -> bytes | None:
        """Return the data of the next record: b"" at the end, None if more must arrive first.

        Raises: ssl.SSLEOFError for an end without notice, which may not be the server's; ssl.SSLError.
        """
        if not self._incoming.pending and not self._incoming.eof:
            return None
        read = self._tls.read
        try:
            return read(_READ_SIZE)
        except NOT_READY:
            return None
        except OSError as error:
            try:
                return repeat_operation(read, _READ_SIZE, error)
            except NOT_READY:
                return None

    def take_output(self) -> bytes:
        """Return what has to be sent: a part of the handshake, or an alert."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return the bytes that announce the end of what this side sends."""
        with suppress(OSError, ValueError):
            self._tls.unwrap()
        return self._outgoing.read()


def _handshake(tls: ssl.SSLObject) -> bool:
    tls.do_handshake()
    return True


def start_tls(sock: socket.socket, state: TLSState, limit: float) -> None:
    """Make the handshake on a connected socket.

    Args:
        limit: `time.monotonic()` moment by which it must be complete.

    Raises: ssl.SSLCertVerificationError and other OSErrors.
    """
    while True:
        try:
            done = state.do_handshake()
        except ssl.SSLError:
            with suppress(OSError):  # the alert that tells the server why
                sock.send(state.take_output())
            raise
        if output := state.take_output():
            set_timeout(sock, limit)
            sock.sendall(output)
        if done:
            return
        set_timeout(sock, limit)
        state.feed(sock.recv(_READ_SIZE))


class TLSConnection(HTTPConnection):
    """One connection over TLS. Threads: one at a time.

    Args:
        sock: the connected socket, after the handshake.
        owner: keeps the connection and its session.
        state: the TLS connection on the socket.
        read_timeout: seconds that a server may send nothing; None for no limit but the deadline.
    """

    __slots__ = ("_sessions", "_state", "_truncated")

    def __init__(
        self, sock: socket.socket, owner: SessionOwner, state: TLSState, read_timeout: float | None = None
    ) -> None:
        super().__init__(sock, owner, read_timeout)
        self._sessions = owner
        self._state = state
        self._truncated = False

    @property
    def resumed(self) -> bool:
        """Whether the handshake resumed the session of an earlier connection."""
        return self._state.resumed

    def is_dropped(self) -> bool:
        """Return whether the server has closed the idle connection, or sent data without a request.

        Session tickets and new keys may arrive at any time, and do not count. A server that sends them without an end
        counts as one that has closed the connection: this has no deadline.
        """
        try:
            if self._state.has_input and self._state.decrypt() is not None:
                return True
            for _ in range(_MAX_IDLE_READS):
                if not super().is_dropped():
                    return False
                if self._buffer:
                    return True
                self._state.feed(self._sock.recv(_READ_SIZE))  # does not wait: something has arrived
                if self._state.decrypt() is not None:
                    return True
        except OSError:
            pass
        return True

    def exchange(self, request: bytes, deadline: float | None, pieces: Iterable[bytes] = ()) -> ConnectionResponse:
        """Send a whole request and read the head of its response; see `HTTPConnection.exchange`."""
        try:
            encrypted = self._state.encrypt(request)
        except BaseException:
            self.close()
            raise
        return super().exchange(encrypted, deadline, map(self._state.encrypt, pieces))

    def receive(self, deadline: float | None) -> bytes:
        """Return what arrives next, at most one record; b"" at the end. Raises: as `HTTPConnection.receive`."""
        state = self._state
        try:
            while (data := state.decrypt()) is None:
                state.feed(super().receive(deadline))
        except ssl.SSLEOFError:
            self._truncated = True
            return b""
        return data

    def check_end(self) -> None:
        """Reject an end of the connection that the server has not announced; an attacker may have cut the body off."""
        if self._truncated:
            raise ConnectionResetError("the connection closed without close_notify; the response may be incomplete")

    def release(self, keep: bool) -> None:
        """Give the connection back to its owner at the end of a response, or close it."""
        if self._exchanges == 1:  # the server has sent its session tickets before the first response
            self._sessions.keep_session(self._state.session)
        super().release(keep)

    def close(self) -> None:
        """Send close_notify, without which OpenSSL does not resume the session, and close the socket."""
        with suppress(OSError):
            self._sock.send(self._state.end(), _DONT_WAIT)
        super().close()
