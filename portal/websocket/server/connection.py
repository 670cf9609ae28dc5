"""ServerConnection: one client of a WebSocket portal: its frames, its session, its calls and its subscriptions."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from functools import partial
from time import monotonic, time
from typing import Any, Protocol

from ..._internal.closing import run_all
from ..._internal.job_queue import Keys
from ..._internal.json_text import BodyDecoder
from ..._internal.log import get_logger
from ...calls.client import client_name
from ...context import Identity
from ...errors import OverloadedError, PortalError
from ...serving import Channel, Request, Run, Work
from .. import wire
from ..close_codes import CloseCode
from ..events import (
    CallEnded,
    CallReceived,
    CancelReceived,
    CreditReceived,
    Event,
    IncomingCall,
    Send,
    StrayCancelReceived,
)
from ..handshake import Accepted
from ..protocol import Session
from ..topics.subscription import Subscription
from .authentication import expiry_of
from .call_session import CallSession, cancel, set_outcome
from .calls import Prepared
from .connections import Connections
from .settings import WebSocketConfig
from .subscriptions import Subscriptions
from .transport import COUNTED, Transport

__all__ = ["CallSource", "ServerConnection"]

_log = get_logger("portal.websocket")


class CallSource(Protocol):
    """Finds the work of the calls of clients; see `Calls`."""

    def prepare(self, peer: Any, call: IncomingCall) -> Prepared:
        """Return the work of a call. It is quick, so the thread that reads calls it. Raises portal errors."""


class ServerConnection(CallSession):
    """One client; a `Peer` for its calls, a `Sink` for its subscriptions, and `Upgraded` for the listener.

    Args:
        channel: the connection of the listener.
        request: the request of the handshake.
        accepted: the response to it.
        identity: proved by the handshake, or None.
        calls: finds the work of calls.
        owner: keeps the connections.
        config: limits and timeouts.
        awaits_credential: whether the client must authenticate itself in a message.
        decoder: decodes the texts.
        debug: whether the client sees what functions raise.

    Attributes:
        id: the id, unique in this process.
        request: as given.
        address: network address of the client, behind trusted proxies.
        identity: of the client, by its last credential, or None.
        client: the name of the client; see `client_name`. Its owner changes it.
        subscriptions: of the client.
        connected_at: seconds since 1970.

    Threads: any may call the methods; the listener calls those of `Upgraded`.
    """

    def __init__(
        self,
        channel: Channel,
        request: Request,
        accepted: Accepted,
        identity: Identity | None,
        calls: CallSource,
        owner: Connections,
        config: WebSocketConfig,
        *,
        awaits_credential: bool = False,
        decoder: BodyDecoder | None = None,
        debug: bool = False,
    ) -> None:
        session = Session(
            max_calls=config.max_calls,
            max_pending=config.max_pending,
            max_batch_response=config.max_batch_response,
            decoder=decoder,
            debug=debug,
        )
        super().__init__(session)
        self.id = owner.next_id()
        self.request = request
        self.address = request.peer
        self.identity = identity
        self.client = client_name(identity, request.peer)
        self.connected_at = time()
        self.subscriptions = Subscriptions(
            self,
            self.id,
            self.address,
            config.max_subscriptions,
            owner.subscriptions,
            max_params=config.max_subscription_params,
        )
        self._channel = channel
        self._accepted = accepted
        self._config = config
        self._calls = calls
        self._owner = owner
        self._debug = debug
        self._transport = Transport(channel, accepted.deflate, config, owner, awaits_credential=awaits_credential)
        if identity is not None:
            self._transport.liveness.authenticated(expiry_of(identity))
        self._reading = threading.Lock()  # held by the thread that takes frames; nobody waits for it
        self._reader = 0  # the thread that reads now; what it sends is collected while there is more to read
        self._received = 0  # calls
        self._set_deadline()

    def __repr__(self) -> str:
        return f"ServerConnection({self.id!r}, {self.client!r})"

    def opened(self) -> None:
        """Count the connection. If there are too many it is closed at once."""
        if self.identity is not None or not self._transport.liveness.awaits_credential:
            self._channel.admit()
        too_many = self._owner.add(self)
        if too_many is not None:
            self.close(*too_many)

    @property
    def closing(self) -> bool:
        """Whether nothing more is sent to the client."""
        return self._transport.closing

    def describe(self) -> dict[str, Any]:
        """Return the state and the counters of the connection as JSON data."""
        identity = self.identity
        return {
            "id": self.id,
            "client": self.client,
            "identity": None if identity is None else identity.name,
            "address": self.address,
            "connected_at": self.connected_at,
            "subprotocol": self._accepted.subprotocol,
            "compressed": self._accepted.deflate is not None,
            "bytes_in": self._channel.bytes_in,
            "bytes_out": self._channel.bytes_out,
            "queued": self._channel.queued,
            "calls": self._received,
            "running": len(self._session.running),
            "subscriptions": len(self.subscriptions),
        }

    # Peer: calls of the client

    def has_room(self, call: IncomingCall) -> bool:
        """Return whether the client accepts another item of a stream, and reads what it is sent."""
        return call.credit != 0 and not self._transport.outbox.is_full

    def run_in_worker(self, kind: Hashable, keys: Keys, work: Work) -> None:
        """Have work done by a worker. Raises: OverloadedError if there is none for it."""
        self._channel.run_in_worker(kind, keys, work)

    def renew(self, identity: Identity) -> None:
        """Take the identity of a new credential, and its expiry."""
        with self._lock:
            self.identity = identity
            self._transport.liveness.authenticated(expiry_of(identity))
            self._set_deadline()
        self._channel.admit()
        if not self._owner.identified(self, identity):
            self.close(CloseCode.TOO_MANY, "the client has too many connections")

    # Sink: messages of subscriptions

    def wake(self, subscription: Subscription) -> None:
        """Take the messages of a subscription, now or when there is room."""
        with self._lock:
            self._transport.outbox.wake(subscription)
            if self._reader != threading.get_ident():
                self._flush()

    def slow(self, subscription: Subscription) -> None:
        """End the connection, as the client reads too slowly. Nothing more is sent."""
        with self._lock:
            self._transport.cut()

    def completed(self, subscription: Subscription, error: PortalError | None) -> None:
        """Tell the client that a topic has ended its subscription."""
        self.subscriptions.ended(subscription)
        with self._lock:
            self._send_or_abort(wire.complete(subscription.id, error, debug=self._debug))

    # with the lock

    def _send(self, text: bytes) -> None:
        self._transport.outbox.add(text)
        # At once if the client may wait for it alone: what is left to do needs not delay the response.
        if self._reader != threading.get_ident() or not self._transport.has_unread:
            self._flush()

    def _abort(self) -> None:
        self._channel.abort()

    def _flush(self) -> None:
        self._transport.flush()
        if self._stopping and not self.closing and not self._session.running:
            self._transport.close(CloseCode.GOING_AWAY, "the server stops")

    def _set_deadline(self) -> None:
        self._transport.set_deadline(self._session.next_deadline(), busy=self._is_busy)

    @property
    def _is_busy(self) -> bool:
        return bool(self._session.running or self._session.pending or self.subscriptions)

    # closing

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame, and wait for that of the client for a moment."""
        with self._lock:
            self._transport.close(code, reason)

    # Upgraded: what the listener calls

    def received(self, run: Run) -> None:
        """Take bytes; see `portal.serving.Upgraded`."""
        has_read = False
        while self._reading.acquire(blocking=False):
            has_read = True
            try:
                events = self._next_events()
            finally:
                self._reading.release()
            if events:
                try:
                    self._handle_all(events, run)
                except BaseException as error:  # the connection ends, and its session may go on with another one
                    self.fail_all(events, error)
                    raise
            if not self._transport.has_more:
                break  # otherwise another thread has left bytes while this one held the lock
        if has_read:  # otherwise the thread that reads goes on, and nothing here may wait for it
            with self._lock:
                if self._reader == threading.get_ident():
                    self._reader = 0
                self._flush()

    def _next_events(self) -> list[Event] | None:
        """Return what the next text of the client asks for; None if there is none now."""
        now, events = monotonic(), list[Event]()
        try:
            with self._lock:
                self._reader = threading.get_ident()
                text = self._transport.next_text(now, self._counted)
                if text is None:
                    return None
                events, size = self._session.receive(text, now), len(text)
                if len(events) == 1:
                    return [] if self._settle(events[0], size) else events
                return [one for one in events if not self._settle(one, size)]
        except BaseException as error:
            self.fail_all(events, error)
            raise

    def _settle(self, event: Event, size: int) -> bool:
        """Handle an event that needs no code of others. Return whether it was one."""
        if isinstance(event, CallReceived):
            self._received += 1
            if self.kept is not None:
                self.kept.received(self, event.call)
            elif event.call.method == "rpc.resume" and self._owner.sessions is not None:
                self.kept = self._owner.sessions.begin(self)  # now: the next calls are part of it
            if size >= COUNTED:
                self._sizes[event.call] = size
                self._counted += size
            return False
        if isinstance(event, Send):
            self._transport.outbox.add(event.text)
            return True
        return False

    def _handle_all(self, events: list[Event], run: Run) -> None:
        """Handle events, and remove each from the list."""
        if len(events) > 1 and sum(isinstance(one, CallReceived) for one in events) > 1:
            # If one of several calls got stuck in the thread that reads, nobody would begin the others.
            run = self._channel.run_in_worker
        while events:
            try:
                self._handle(events[0], run)
            except Exception as error:
                _log.exception("handling a message failed: client=%s", self.client)
                self.fail_all(events[:1], error)
            del events[0]

    def _handle(self, event: Event, run: Run) -> None:
        if isinstance(event, CallReceived):
            try:
                if self._stopping:
                    raise OverloadedError("the server is stopping", retry_after=1.0)
                kind, keys, work = self._calls.prepare(self, event.call)
                run(kind, keys, work)
            except PortalError as error:
                self.fail(event.call, error)
        elif isinstance(event, CancelReceived):
            cancel(event)
        elif isinstance(event, StrayCancelReceived):
            if self.kept is not None:
                self.kept.cancel(event.call_id)
        elif isinstance(event, CreditReceived):
            if event.subscription is not None:
                self.subscriptions.grant(event.subscription, event.items)
            elif event.call is not None and event.call.tag is not None:
                event.call.tag.go_on()
        elif isinstance(event, CallEnded):
            set_outcome(event)

    def writable(self) -> None:
        """Go on sending and reading; see `portal.serving.Upgraded`."""
        with self._lock:
            has_room = self._transport.go_on()
            running = self._session.running if has_room else []
            resumes = has_room and self._transport.resume()
            self._flush()
        for call in running:
            if call.tag is not None:
                call.tag.go_on()
        if resumes:
            self.received(self._channel.run_in_worker)  # what was read before the pause

    def overdue(self) -> bool:
        """Do what is due by the time; see `portal.serving.Upgraded`."""
        now, events = monotonic(), list[Event]()
        try:
            with self._lock:
                events = self._session.expire(now)
                for event in events:
                    self._settle(event, 0)
                alive = self._transport.do_what_is_due(now, busy=self._is_busy)
                self._flush()
                self._set_deadline()
            for event in events:
                if isinstance(event, CallEnded):
                    set_outcome(event)
        except BaseException as error:  # the session has forgotten the calls
            self.fail_all(events, error)
            raise
        return alive

    def farewell(self) -> bytes:
        """Return the last frame for a client that reads too slowly; see `portal.serving.Upgraded`."""
        return self._transport.farewell()

    def refused(self) -> None:
        """End the connection; see `portal.serving.Upgraded`."""
        with self._lock:
            self._transport.refuse()

    def stopping(self) -> None:
        """Ask the client to connect again elsewhere, and close once its calls have ended."""
        with self._lock:
            if not self.closing and not self._stopping:
                self._stopping = True
                session = None if self.kept is None else self.kept.id
                self._transport.outbox.add(wire.go_away("the server stops", self._config.goaway_delay, session))
                self._flush()

    def ending(self) -> None:
        """Close, although calls still run; see `portal.serving.Upgraded`."""
        with self._lock:
            self._transport.close(CloseCode.GOING_AWAY, "the server has stopped", at_once=True)

    def lost(self) -> None:
        """End everything, as the connection is gone; see `portal.serving.Upgraded`."""
        with self._lock:
            abrupt, self._transport.lost = not self.closing, True
            self._transport.outbox.drop()
        leave = partial(self._leave, abrupt)
        forget = partial(self._owner.remove, self)
        run_all(self._end_own, self._end_streams, self.subscriptions.close, forget, leave, attempts=2)

    def _leave(self, abrupt: bool) -> None:
        if self.kept is None or not self.kept.lost(self, abrupt=abrupt):
            self.abandon()

    def _dispatch(self, events: list[Event]) -> None:
        run_all(*(partial(self._handle, event, self._channel.run_in_worker) for event in events))
