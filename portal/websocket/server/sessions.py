"""Sessions: the responses of clients whose connections are lost, kept until they come back.

A client asks for a session by rpc.resume without parameters. After a lost connection it sends rpc.resume with the id of
its session and the ids of the calls that have no response. Calls go on meanwhile. A call that has ended gets its
response again, one that never arrived is named in the result, and none runs twice.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Protocol

from ..._internal.closing import run_all
from ..._internal.counter import Counter
from ...calls.deadlines import DeadlineWatch
from ...errors import TransportError
from ...jsonrpc.encoding import encode_error
from ...jsonrpc.messages import Id
from ..close_codes import CloseCode
from ..events import IncomingCall

__all__ = ["KeptSession", "SessionConnection", "SessionStore"]

_FEW, _SMALL = 32, 4096  # responses, and bytes of them, that are not worth looking for those the client has
_REST = 0.75  # of the bound of all sessions, which is left when it was exceeded


class SessionConnection(Protocol):
    """A connection as its session uses it. Threads: any."""

    client: str

    def send_text(self, text: bytes) -> None:
        """Send a text, unless the connection is lost."""

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame."""

    def abandon(self) -> None:
        """Cancel the calls that run: their client does not come back."""

    def cancel_call(self, call_id: int) -> None:
        """Cancel a call that runs."""


class KeptSession:
    """One session: the responses that its client may not have.

    Ids count up within a session, and texts arrive in order. So a call has arrived if its id is not above the last one.

    Args:
        store: keeps the session.
        session_id: names it.
        connection: the present connection.
        max_bytes: bytes of the responses.

    Threads: any. Its lock is taken while that of the connection of a call is held, and never the other way round.
    """

    __slots__ = (
        "_acknowledged",
        "_bytes",
        "_counted",
        "_ended",
        "_last",
        "_lock",
        "_max_bytes",
        "_responses",
        "_running",
        "_store",
        "client",
        "connection",
        "id",
        "token",
    )

    def __init__(self, store: SessionStore, session_id: str, connection: SessionConnection, max_bytes: int) -> None:
        self.id = session_id
        self.client = connection.client
        self.connection = connection
        self.token: object | None = None  # of the expiry, while there is no connection
        self._store = store
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # guards the attributes below
        self._last = 0
        self._acknowledged = 0
        self._responses: dict[int, bytes] = {}
        self._running: dict[int, SessionConnection] = {}  # the connection of each call that runs
        self._bytes = self._counted = 0  # and how many of them the store has counted
        self._ended = False

    @property
    def size(self) -> int:
        """The bytes of the responses that are kept, as the store has counted them."""
        return self._counted

    def received(self, connection: SessionConnection, call: IncomingCall) -> None:
        """Note a call. Its `meta.pending` is the first id whose response the client does not have."""
        call_id, meta = call.id, call.meta
        if type(call_id) is int:
            if call_id > self._last:
                self._last = call_id
            self._running[call_id] = connection
        first = None if meta is None else meta.get("pending")
        if type(first) is int and first > self._acknowledged:
            few_large = self._bytes > _SMALL and len(self._responses) < _FEW
            if few_large or first >= self._acknowledged + _FEW:
                self._drop_before(first)

    def _drop_before(self, first: int) -> None:
        """Drop the responses that the client has."""
        self._acknowledged = first
        with self._lock:
            for known in [one for one in self._responses if one < first]:
                self._bytes -= len(self._responses.pop(known))
            change = self._count()
        if change:
            self._store.count(change)

    def _count(self) -> int:
        """Return by how much the bytes have changed since they were counted; 0 while that is little."""
        change = self._bytes - self._counted
        if -_SMALL < change < _SMALL and not self._ended:
            return 0
        self._counted = self._bytes
        return change

    def drop_responses(self, *, ended: bool = False) -> None:
        """Drop all responses: there are too many in all, or the session has ended and keeps no more."""
        with self._lock:
            self._ended = self._ended or ended
            self._responses.clear()
            self._bytes = 0
            change, self._counted = -self._counted, 0
        if change:
            self._store.count(change)

    def ended(self, connection: SessionConnection, call: IncomingCall, text: bytes) -> None:
        """Keep the response to a call. If its connection was lost, and the client is back, send it there."""
        if type(call.id) is not int:
            return
        with self._lock:
            self._running.pop(call.id, None)
            if not self._ended:
                self._bytes += len(text) - len(self._responses.get(call.id, b""))  # it is there after a fault
                self._responses[call.id] = text
                while self._bytes > self._max_bytes and len(self._responses) > 1:
                    self._bytes -= len(self._responses.pop(next(iter(self._responses))))
            present, change = self.connection, self._count()
        try:
            if change:
                self._store.count(change)
        finally:
            if present is not connection:
                run_all(lambda: present.send_text(text), attempts=2)

    def cancel(self, call_id: Id) -> None:
        """Cancel a call that came on an earlier connection and runs still."""
        connection = self._running.get(call_id) if type(call_id) is int else None
        if connection is not None:
            connection.cancel_call(call_id)  # type: ignore[arg-type]  # an int

    def lost(self, connection: SessionConnection, *, abrupt: bool) -> bool:
        """Note that a connection is lost. Return whether its calls go on: the client may come back.

        Args:
            abrupt: whether it was lost without a close frame.
        """
        return self._store.lost(self, connection, abrupt=abrupt)

    def attach(self, connection: SessionConnection) -> SessionConnection:
        """Take the connection on which the client is back. Return the one before it."""
        with self._lock:
            before, self.connection = self.connection, connection
        return before

    def missing(self, pending: Iterable[int]) -> list[int]:
        """Return those of the calls that were never received."""
        return [one for one in pending if one > self._last]

    def responses(self, pending: Iterable[int]) -> list[bytes]:
        """Return the responses to those of the calls that have ended."""
        found: list[bytes] = []
        with self._lock:
            for one in pending:
                text = self._responses.get(one)
                if text is not None:
                    found.append(text)
                elif one <= self._last and one not in self._running:
                    error = TransportError("the response is not kept any more", delivery="executed")
                    found.append(encode_error(one, error))
        return found

    def abandon(self) -> None:
        """Cancel the calls that run: their client does not come back."""
        with self._lock:
            connections = {self.connection, *self._running.values()}
        for connection in connections:
            connection.abandon()


class SessionStore:
    """The sessions of a portal.

    Args:
        keep: seconds for which a session without a connection is kept; 0 for no sessions.
        max_bytes: bytes of the responses of one session.
        max_lost: sessions without a connection. Beyond it, the client with the most of them loses its oldest one.
        max_all_bytes: bytes of the responses of all sessions. Beyond it, the sessions with the most lose theirs.
        watch: drops the sessions; made when None.
        clock: seconds, as `time.monotonic`.

    Attributes:
        resumed, expired: count sessions.
        trimmed: counts sessions that have lost responses to `max_all_bytes`.

    Threads: any.
    """

    def __init__(
        self,
        keep: float = 60.0,
        max_bytes: int = 256 * 1024,
        max_lost: int = 1000,
        *,
        max_all_bytes: int = 64 * 1024 * 1024,
        watch: DeadlineWatch | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.keep = keep
        self.resumed, self.expired, self.trimmed = Counter(), Counter(), Counter()
        self._max_bytes = max_bytes
        self._max_lost = max_lost
        self._max_all_bytes = max_all_bytes
        self._clock = clock
        self._watch = watch or DeadlineWatch(clock)
        self._lock = threading.Lock()  # guards the attributes below; taken without the lock of a session
        self._bytes = 0
        self._lost: dict[str, KeptSession] = {}  # in the order of their loss
        self._open: dict[str, KeptSession] = {}

    def begin(self, connection: SessionConnection) -> KeptSession:
        """Return a new session of a connection."""
        made = KeptSession(self, secrets.token_urlsafe(16), connection, self._max_bytes)
        with self._lock:
            self._open[made.id] = made
        return made

    def resume(self, session_id: str, connection: SessionConnection) -> KeptSession | None:
        """Return the session with an id, now of another connection; None if this client has no such session.

        A connection that has it still is closed: its client has given it up.
        """
        with self._lock:
            found = self._open.get(session_id) or self._lost.get(session_id)
            if found is None or found.client != connection.client:
                return None
            self._lost.pop(session_id, None)
            self._open[session_id] = found
            token, found.token = found.token, None
        if token is not None:
            self._watch.discard(token)
        before = found.attach(connection)
        before.close(CloseCode.SESSION_TAKEN_OVER, "another connection has resumed the session")
        self.resumed.add()
        return found

    def lost(self, session: KeptSession, connection: SessionConnection, *, abrupt: bool) -> bool:
        """Keep a session for a while, as its connection is lost. Return False if the client does not come back."""
        dropped: list[KeptSession] = []
        with self._lock:
            if session.connection is not connection:
                return True  # its calls go on for the other connection
            stays = self._open.pop(session.id, None) is not None and abrupt
            if stays:  # first the expiry: without a thread for it, the session is not kept
                session.token = self._watch.add(self._clock() + self.keep, lambda: self._drop(session))
                self._lost[session.id] = session
            while len(self._lost) > self._max_lost:
                dropped.append(self._lost.pop(self._oldest_of_most()))
        for one in dropped:
            self._end(one)
        if not stays:
            session.drop_responses(ended=True)
        return stays

    def _oldest_of_most(self) -> str:
        """Return the id of the oldest lost session of the client that has the most of them; the lock is held.

        So a client that loses many connections cannot take the sessions of others.
        """
        client, _ = Tally(one.client for one in self._lost.values()).most_common(1)[0]
        return next(session_id for session_id, one in self._lost.items() if one.client == client)

    def count(self, change: int) -> None:
        """Count bytes of responses that are kept, or not any more. Beyond the bound the largest sessions lose theirs.

        Threads: any, without the lock of a session.
        """
        with self._lock:
            self._bytes += change
            if self._bytes <= self._max_all_bytes:
                return
            sessions = [*self._open.values(), *self._lost.values()]
        for session in sorted(sessions, key=lambda one: one.size, reverse=True):
            if self._bytes <= self._max_all_bytes * _REST or not session.size:
                break
            session.drop_responses()
            self.trimmed.add()

    def discard(self, session: KeptSession) -> None:
        """Forget a new session, as its client goes on with another one."""
        with self._lock:
            self._open.pop(session.id, None)
        session.drop_responses(ended=True)

    def _drop(self, session: KeptSession) -> None:
        with self._lock:
            if self._lost.pop(session.id, None) is None:
                return  # it was resumed
        self._end(session)

    def _end(self, session: KeptSession) -> None:
        self.expired.add()
        token, session.token = session.token, None
        if token is not None:
            self._watch.discard(token)
        session.drop_responses(ended=True)
        session.abandon()

    def stats(self) -> dict[str, int]:
        """Return the numbers of sessions: open, lost, resumed, expired, trimmed; and the bytes of the responses."""
        return {
            "open": len(self._open),
            "lost": len(self._lost),
            "resumed": self.resumed.value,
            "expired": self.expired.value,
            "trimmed": self.trimmed.value,
            "bytes": self._bytes,
        }

    def close(self) -> None:
        """Drop the sessions without a connection."""
        with self._lock:
            lost, self._lost = list(self._lost.values()), {}
        for one in lost:
            self._end(one)
        self._watch.close()
