"""Connection: one client, from its first byte to its last. It passes from thread to thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic, time

from ..._internal.closing import run_all
from ...context import Identity
from ...errors import ProtocolError
from ...http11.head_cache import HeadCache
from ...http11.request_head import RequestHead
from ..bounds.slow_reader import SlowReader
from ..config import ServingConfig
from ..io.output import ConnectionOwner, Output
from ..io.stream import READ_SIZE, Stream, TLSStream, plain_stream
from ..io.tls import identity_of
from ..messages.rejections import error_response
from ..messages.request_reader import Received, RequestReader
from ..messages.upgraded import Run, Upgraded
from .channel import Channel
from .timeouts import DRAIN_SECONDS, silence_deadline, stored_deadline

__all__ = ["INPUT_REFUSED", "Connection"]

INPUT_REFUSED = "too much of other requests is being received"
_SHORT_READ = 4 * 1024  # bytes to read after an upgrade, so that many short messages leave others their turn
_LARGE = 1024  # bytes that are kept of a message, from which it counts as large
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection:
    """One client.

    Args:
        owner: watches the connection while it is not being served.

    Attributes:
        stream: reads from the client.
        output: sends to the client.
        peer: network address of the client, "unix:" on a Unix socket.
        client: network of the peer, which counts as one client; None for a trusted proxy and on a Unix socket.
        secure: whether it uses TLS.
        handshaking: whether its TLS handshake is not complete.
        identity: of the client by its certificate, or None.
        closed: whether the socket is closed.
        draining: whether the last response is sent, and what the client still sends is discarded.
        storing: whether the body that arrives is kept on disk, so that a worker reads it.
        paused: whether nothing is read until `resume`.
        deadline: `time.monotonic()` moment at which it is closed if it is still parked.
        idle_since: the moment at which it was last parked between requests, or accepted.
        requests, bytes_in: counters.
        armed_otherwise: whether the poller has reported it differently since it was last parked.
        input: counts what is kept of a request.
        streams: places for streams.
        channel: of the protocol that has taken the connection over, or None while it speaks HTTP.

    Threads: a connection belongs to one thread at a time. That is the thread that leads the reactor's loop while the
        connection is parked, and otherwise the worker that serves it, or the responder at its deadline. After an
        upgrade one thread at a time may call `send_part`. Any thread may call `abort`, `reset`, `cut`, `pause`,
        `resume` and `shut_writing` then.
    """

    __slots__ = (
        "_checked", "_config", "_known", "_owner", "_parked_in", "_reader", "armed_otherwise", "bytes_in", "channel",
        "client", "closed", "deadline", "draining", "handshaking", "identity", "idle_since", "input", "output",
        "paused", "peer", "requests", "secure", "storing", "stream", "streams",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        peer: str,
        config: ServingConfig,
        cache: HeadCache,
        owner: ConnectionOwner,
        client: str | None = None,
    ) -> None:
        self.stream = stream
        self._config, self._owner = config, owner
        self.output = self._output_to(stream)
        self.peer, self.client = peer, client
        self.input = owner.inputs.share(client)
        self.streams = owner.streams
        self.secure = stream.secure
        self.identity: Identity | None = None
        self.closed = self.draining = self.paused = self.storing = False
        self.armed_otherwise = False
        self.handshaking = stream.secure
        self.idle_since = monotonic()
        self.deadline = self.idle_since + config.head_timeout
        self.requests = self.bytes_in = 0
        self.channel: Channel | None = None
        self._parked_in = "idle"
        self._checked = -1  # number of requests before the one whose credential was looked at
        self._known: tuple[int, Identity | None] = (-1, None)  # of the request with this number
        self._reader = RequestReader(config.max_head, config.max_body, cache, store=owner.bodies, client=client)

    def _output_to(self, stream: Stream) -> Output:
        return Output(
            stream,
            SlowReader(self._config.write_timeout, self._config.min_write_rate),
            self._owner.output_budget,
            self._config.max_output_per_connection,
            partial(self._owner.watch_output, self),
        )

    # reading

    def downgrade_to_plaintext(self) -> None:
        """Go on without TLS, as the client has not sent a TLS handshake."""
        assert isinstance(self.stream, TLSStream)
        self.stream = plain_stream(self.stream.detach(), self._config.linger)
        self.output = self._output_to(self.stream)
        self.secure = self.handshaking = False

    def do_handshake(self) -> bool:
        """Continue the TLS handshake and return whether it is complete. Raises: OSError if it has failed."""
        assert isinstance(self.stream, TLSStream)
        if not self.stream.do_handshake():
            return False
        assert self.stream.tls is not None
        self.identity = identity_of(self.stream.tls)
        self.handshaking = False
        return True

    def next_request(self) -> Received | None:
        """Return the next complete request; None if the client does not send one within the linger time.

        Raises: ProtocolError for a request to reject; ConnectionError if the client is gone.
        """
        while (request := self.take_request()) is None:
            if self.output.pending or not self._feed(self.stream.read_soon()):
                return None
        return request

    def read_request(self, invites: bool = True) -> Received | None:
        """Return the next request if all of it has arrived; otherwise as `take_request`."""
        self._feed(self.stream.read_now())
        return self.take_request(invites)

    def read(self) -> bytes | None:
        """Return what has arrived after an upgrade, or None. Raises: ConnectionError if the client is gone."""
        data = self.stream.read_now(READ_SIZE if self.input.held >= _LARGE else _SHORT_READ)
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

    def take_request(self, invites: bool = True) -> Received | None:
        """Return the next request if all of it has been read. Never waits. Raises: as `next_request`.

        Returns None while output waits for the client.

        Args:
            invites: whether a client that waits for `100 Continue` gets it; see `invite_body`.
        """
        if self.output.pending:
            return None
        found = self._reader.next_request()
        if found is not None:
            self.requests += 1
            if self.input.receiving:
                self.storing = False
                if not self.input.complete():
                    raise ProtocolError(INPUT_REFUSED, status=503)
            return found
        if self._reader.pending_head is not None:
            self._hold_body()
            if invites:
                self.invite_body()
        return None

    def _hold_body(self) -> None:
        """Count what has arrived of a body."""
        size, self.storing = self._reader.buffered, self._reader.storing
        if (size or self.storing) and not self.input.hold(self, size):
            raise ProtocolError(INPUT_REFUSED, status=503)

    @property
    def expects_invitation(self) -> bool:
        """Whether the client sends the body of its request only after `100 Continue`."""
        return self._reader.wants_continue

    def invite_body(self) -> None:
        """Ask for the body of a request if the client waits for that. Raises: ConnectionAbortedError."""
        if self._reader.wants_continue:
            self._reader.wants_continue = False
            if not self.send_nowait(_CONTINUE):
                raise ConnectionAbortedError("the client reads nothing")

    def begin_authentication(self) -> RequestHead | None:
        """Return the head of the request whose body is arriving, to look at its credential; None the second time."""
        if self._checked == self.requests:
            return None
        self._checked = self.requests
        return self._reader.pending_head

    def admit(self, identity: Identity | None) -> None:
        """Read the body of a request whose caller is known, or needs no credential."""
        self._known = (self.requests + 1, identity)
        self.input.admit()

    @property
    def known_identity(self) -> Identity | None:
        """The identity of the caller of the present request, if it was authenticated before its body was read."""
        return self._known[1] if self._known[0] == self.requests else None

    @property
    def inside_request(self) -> bool:
        """Whether part of the next request has arrived."""
        return self._reader.state != "idle"

    @property
    def awaits_request(self) -> bool:
        """Whether it is idle between two requests."""
        return not self.draining and self.channel is None and self._reader.state == "idle"

    @property
    def rank(self) -> tuple[int, float] | None:
        """The rank of a parked connection. The lowest gives way to a new connection first; None never does.

        Idle connections come first, then those that have not sent all of a request or a handshake.
        """
        if self.output.pending or self.channel is not None:
            return None
        return (0 if self.draining or (self.awaits_request and not self.handshaking) else 1), self.idle_since

    def is_unfinished(self, now: float) -> bool:
        """Return whether the client is sending a request or may be about to, as its deadline is ahead."""
        if self.draining or self.channel is not None:
            return False
        return self._reader.state != "idle" or (self.deadline > now and not self.handshaking)

    def set_deadline(self, moment: float) -> None:
        """Close the connection at this `time.monotonic()` moment if it is still parked."""
        self.deadline = moment

    def note_parked(self, now: float) -> None:
        """Set the deadline of the connection, which is parked now; see `silence_deadline`."""
        self.armed_otherwise = False
        if self.draining or self.handshaking or self.channel is not None:
            return
        state = self._reader.state
        if state == "idle":
            self.idle_since = now
            if self.input.held:
                self.input.release()
        if self.output.pending:
            self.deadline = inf  # `SlowReader` decides
            return
        self.deadline = silence_deadline(state, self._parked_in, self.deadline, now, self._config)
        if self.storing:
            self.deadline = stored_deadline(self._reader.arrived, self._reader.received, self._config)
        self._parked_in = state

    # writing

    def send(self, data: bytes) -> None:
        """Send a whole message, which the client must take within the response timeout. Never waits.

        Raises: OSError if the client is gone, or if too much output waits for clients.
        """
        if not self.output.write(data, self._config.response_timeout):
            self._owner.reduce_output(self)

    def send_part(self, data: bytes) -> None:
        """Send a part of a stream. Never waits; see `wait_for_room`. Raises: as `send`."""
        if not self.output.write(data):
            self._owner.reduce_output(self)

    def wait_for_room(self) -> None:
        """Wait before the next part of a stream if the client reads slowly. Raises: ConnectionAbortedError."""
        self.output.wait_for_room()

    def send_nowait(self, data: bytes) -> bool:
        """Send `data` if the system takes all of it at once, and return whether it did; see `Output.write_now`."""
        return self.output.write_now(data)

    def reject(self, error: ProtocolError) -> None:
        """Send the response to a request that cannot be read. The connection is drained and closed after it."""
        retry_after = 1 if error.status == 503 else None
        self.send_nowait(error_response(error.status, str(error), now=time(), retry_after=retry_after))

    def shut_writing(self) -> None:
        """End the output, so that the client reads the response before the connection is closed.

        If output waits for the client, its end follows that.
        """
        self.draining = True
        self.deadline = inf
        self._reader.drop()
        self.input.release()
        self.output.when_sent(self._shut_stream)

    def _shut_stream(self) -> None:
        self.deadline = monotonic() + DRAIN_SECONDS
        self.stream.shut_writing()

    def drain(self) -> bool:
        """Discard what the client still sends, and return whether it has closed its side."""
        try:
            return self.stream.read_now() == b""
        except OSError:
            return True

    # upgrades

    def upgrade(self, take_over: Callable[[Channel], Upgraded], run_in_worker: Run) -> bytes:
        """Give the connection to a protocol other than HTTP; return the bytes already read that belong to it."""
        rest = self._reader.take_rest()
        self.deadline = inf
        self.channel = Channel(self, run_in_worker, take_over)
        return rest

    def downgrade(self, rest: bytes) -> None:
        """Speak HTTP again, beginning with `rest`."""
        self.channel = None
        self._reader.feed(rest)

    def pause(self) -> None:
        """Read nothing until `resume`. The kernel holds what the client sends meanwhile, and then the client waits."""
        self.paused = True

    def resume(self) -> None:
        """Read again. Any thread."""
        if self.paused:
            self.paused = False
            self._owner.resume(self)

    def on_hangup(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the reactor's loop if the client closes its side during a stream."""
        self.armed_otherwise = True
        self._owner.on_hangup(self, callback)

    def on_reset(self, callback: Callable[[], object], *, runs: bool = True) -> None:
        """While a plain call `runs`, call `callback` if the connection is broken. A client may close only its side."""
        (self._owner.on_reset if runs else self._owner.forget_reset)(self, callback)

    def forget_hangup(self) -> None:
        """Drop the callback, as the response is sent."""
        self._owner.forget_hangup(self)

    def abort(self) -> None:
        """Break the connection and drop its output. Any thread, even while another one uses it."""
        self._break(self.stream.abort)

    def reset(self) -> None:
        """Break the connection and drop all that waits for the client, also in the system. Any thread."""
        self._break(self.stream.reset)

    def _break(self, end: Callable[[], object]) -> None:
        with self.output.lock:  # a closed descriptor may belong to another connection already
            if not self.closed:
                self.output.discard()
                end()

    def cut(self) -> None:
        """Break the connection for its output. A protocol other than HTTP may send a reason first. Any thread."""
        if self.channel is None or self.draining:
            self.reset()
        elif last := self.channel.handler.farewell():
            # If no output waits any more, another thread may be writing. Then the connection ends without `last`.
            self.output.replace(last)
            self.channel.finish()
        else:
            self.reset()

    def discard(self) -> None:
        """Close this process's copy of the socket in the child of a fork. The client does not notice."""
        self.closed = True
        self.stream.discard()

    def close_socket(self) -> None:
        """Close the socket. The thread that owns the connection calls this, and holds the lock of its output."""
        self.closed = True
        run_all(self.output.close, self.input.release, self.stream.close)

    def notify_lost(self) -> None:
        """Tell the upgraded protocol of the end of the connection. No lock is held."""
        if self.channel is not None:
            self.channel.handler.lost()
