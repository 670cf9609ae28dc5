"""Connection: one client, from its first byte to its last, whichever thread has it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from typing import Protocol

from ..context import Identity
from ..errors import ProtocolError
from ..http11.head_cache import HeadCache
from .config import ServingConfig
from .rejections import error_response
from .request import Received, RequestReader, Upgraded
from .stream import Stream, TLSStream, plain_stream
from .tls import identity_of

__all__ = ["Connection", "ConnectionOwner"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_DRAIN_SECONDS = 2.0


class ConnectionOwner(Protocol):
    """Watches connections that are not being served. Threads: any."""

    def park(self, connection: Connection) -> None:
        """Watch it from now on."""

    def on_hangup(self, connection: Connection, callback: Callable[[], object]) -> None:
        """Call `callback` once if the client closes its side."""

    def forget_hangup(self, connection: Connection) -> None:
        """Drop the callback."""


class Connection:
    """One client.

    At any moment it belongs to one thread: the reactor while it is parked, else the worker that serves it (or the
    thread that answers in the worker's place at a deadline). After an upgrade the reactor keeps it, and `send` may be
    called by one thread at a time beside it.

    Attributes:
        peer: network address of the client, "unix:" on a Unix socket.
        secure: whether it came over TLS.
        identity: who the client is by its certificate, or None.
        deadline: `time.monotonic()` moment at which it is given up while parked.
        idle_since: the moment at which it was last parked between requests, or accepted.
        requests, bytes_in, bytes_out: counters.
        listened_for_hangup: whether `on_hangup` was called since it was last parked.
        upgraded: what has taken the connection over, or None while it speaks HTTP.
    """

    __slots__ = (
        "_config",
        "_owner",
        "_parked_in",
        "_reader",
        "_untold",
        "bytes_in",
        "bytes_out",
        "closed",
        "deadline",
        "draining",
        "identity",
        "idle_since",
        "listened_for_hangup",
        "paused",
        "peer",
        "requests",
        "secure",
        "shaking",
        "stream",
        "upgraded",
    )

    def __init__(
        self, stream: Stream, peer: str, config: ServingConfig, cache: HeadCache, owner: ConnectionOwner
    ) -> None:
        self.stream = stream
        self.peer = peer
        self.secure = stream.secure
        self.identity: Identity | None = None
        self.closed = False
        self.draining = False
        self.paused = False
        self.listened_for_hangup = False
        self.shaking = stream.secure  # until the TLS handshake is done
        self.idle_since = monotonic()
        self.deadline = self.idle_since + config.head_timeout
        self.requests = self.bytes_in = self.bytes_out = 0
        self.upgraded: Upgraded | None = None
        self._parked_in = "idle"
        self._config = config
        self._reader = RequestReader(config.max_head, config.max_body, cache)
        self._owner = owner
        self._untold: list[Callable[[], object]] = []  # `stopping` of what has taken it over, until it is told

    # reading

    def downgrade_to_plaintext(self) -> None:
        """Give TLS up: what came is no handshake."""
        assert isinstance(self.stream, TLSStream)
        self.stream = plain_stream(self.stream.without_tls(), self._config.linger, self._config.write_timeout)
        self.secure = self.shaking = False

    def do_handshake(self) -> bool:
        """Go on with the TLS handshake; whether it is done. OSError when it failed."""
        assert isinstance(self.stream, TLSStream)
        if not self.stream.do_handshake():
            return False
        assert self.stream.tls is not None
        self.identity = identity_of(self.stream.tls)
        self.shaking = False
        return True

    def next_request(self) -> Received | None:
        """The next whole request, waiting the linger time for it; None when it has to be waited for longer.

        Raises: ProtocolError to be answered; ConnectionError when the client is gone.
        """
        while (request := self.take_request()) is None:
            if not self._feed(self.stream.read_soon()):
                return None
        return request

    def read_request(self) -> Received | None:
        """The next request if it is whole with what has arrived. Never waits. Raises: as `next_request`."""
        self._feed(self.stream.read_now())
        return self.take_request()

    def read(self) -> bytes | None:
        """What has arrived after an upgrade; None when nothing has. ConnectionError when the client is gone."""
        data = self.stream.read_now()
        if data:
            self.bytes_in += len(data)
        elif data is not None:
            raise ConnectionResetError("the client closed the connection")
        return data

    def _feed(self, data: bytes | None) -> bool:
        if data:
            self.bytes_in += len(data)
            self._reader.feed(data)
            return True
        if data is None:
            return False
        raise ConnectionResetError("the client closed the connection")

    def take_request(self) -> Received | None:
        """The next request if all of it has been read. Never waits. Raises: as `next_request`."""
        found = self._reader.next_request()
        if found is not None:
            self.requests += 1
            return found
        if self._reader.wants_continue:
            self._reader.wants_continue = False
            if not self.send_nowait(_CONTINUE):  # the watching thread must not wait for a client that reads nothing
                raise ConnectionAbortedError("the client takes nothing")
        return None

    @property
    def inside_request(self) -> bool:
        """Whether part of a request has arrived."""
        return self._reader.state != "idle"

    @property
    def awaits_request(self) -> bool:
        """Whether it is idle between two requests."""
        return not self.draining and self.upgraded is None and self._reader.state == "idle"

    def is_unfinished(self, now: float) -> bool:
        """Return whether the client is sending a request or may be about to, as its deadline is ahead."""
        if self.draining or self.upgraded is not None:
            return False
        return self._reader.state != "idle" or (self.deadline > now and not self.shaking)

    def set_deadline(self, moment: float) -> None:
        """Give the connection up at this `time.monotonic()` moment while it is parked."""
        self.deadline = moment

    def note_parked(self, now: float) -> None:
        """Set the moment at which the connection, parked now, is given up.

        A handshake, a head or a body in progress keeps the deadline it began with: a byte now and then does not
        extend it.
        """
        self.listened_for_hangup = False
        if self.draining or self.shaking or self.upgraded is not None:
            return
        state = self._reader.state
        if state == "idle":
            self.idle_since = now
            self.deadline = now + self._config.idle_timeout
        elif state != self._parked_in:
            self.deadline = now + (self._config.head_timeout if state == "head" else self._config.body_timeout)
        self._parked_in = state

    # writing

    def send(self, data: bytes) -> None:
        """Send all of `data`; ConnectionError when the peer is gone or takes nothing for the write timeout."""
        self.stream.write(data)
        self.bytes_out += len(data)

    def send_nowait(self, data: bytes) -> bool:
        """Send `data` if the kernel takes all of it at once; for threads that must not wait."""
        self.bytes_out += len(data)
        return self.stream.write_now(data)

    def reject(self, error: ProtocolError) -> None:
        """Send the response to a request that cannot be read. The connection is drained and closed after it."""
        self.send_nowait(error_response(error.status, str(error), now=time()))

    def shut_writing(self) -> None:
        """Say that nothing more will come, so that the client reads the answer before the connection is cut."""
        self.draining = True
        self.deadline = monotonic() + _DRAIN_SECONDS
        self.stream.shut_writing()

    def drain(self) -> bool:
        """Throw away what the client still sends; whether it has closed its side."""
        try:
            return self.stream.read_now() == b""
        except OSError:
            return True

    # being taken over

    def upgrade(self, take_over: Callable[[Connection], Upgraded]) -> bytes:
        """Let a protocol other than HTTP have the connection; gives the bytes already read that belong to it."""
        rest = self._reader.take_rest()
        self.deadline = monotonic() + self._config.idle_timeout
        self.upgraded = take_over(self)
        self._untold = [self.upgraded.stopping]
        return rest

    def tell_stopping(self) -> None:
        """Tell what has taken the connection over that the listener stops, once. Any thread."""
        try:
            stopping = self._untold.pop()
        except IndexError:
            return
        stopping()

    def resume_http(self, rest: bytes = b"") -> None:
        """Speak HTTP again, beginning with `rest`. Only from within `Upgraded.received`."""
        self.upgraded = None
        self._untold.clear()
        self._reader.feed(rest)

    def pause(self) -> None:
        """Read nothing more until `resume`: what the client sends meanwhile waits in the kernel, and then with it."""
        self.paused = True

    def resume(self) -> None:
        """Read again. Any thread."""
        self.paused = False
        self._owner.park(self)

    def on_hangup(self, callback: Callable[[], object]) -> None:
        """Call `callback`, in the watching thread, when the client closes its side during an answer.

        For streams: a client that has closed its side of a plain call may still wait for the answer. Where the system
        cannot tell, the next write finds out.
        """
        self.listened_for_hangup = True
        self._owner.on_hangup(self, callback)

    def forget_hangup(self) -> None:
        """The answer is given: the callback is not wanted any more."""
        self._owner.forget_hangup(self)

    def abort(self) -> None:
        """Break the connection under whichever thread has it. Any thread."""
        self.stream.abort()

    def discard(self) -> None:
        """Close this process's copy of the socket in the child of a fork. The client does not notice."""
        self.closed = True
        self.stream.discard()

    def close(self) -> None:
        """Close the socket; for the thread that has the connection."""
        if not self.closed:
            self.closed = True
            self.stream.close()
            if self.upgraded is not None:
                self.upgraded.lost()
