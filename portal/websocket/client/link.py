"""Link: one connection to a server that comes back by itself, and the calls that many threads make over it.

A link outlives its transports. What happens to a call when a transport is lost:

    not sent                      it waits for the next one, within the deadline of its caller
    sent, within a session        it waits: the server keeps its response for the next connection of the session
    sent, without a session       an idempotent call is sent once more; any other fails, and may have been executed
    a stream that has started     it fails, and may have been executed
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from time import monotonic
from typing import Any

from ..._internal.at_fork import new_lock
from ..._internal.closing import run_all
from ..._internal.json_text import JSONObject, JSONValue
from ...address import Address
from ...errors import PortalError, TransportError
from ..close_codes import CloseCode
from ..events import CallEnded, Event, GoAwayReceived, ItemReceived, Send
from .calls import LinkCalls, finish_all
from .dialer import Dialed, Dialer
from .exchange import Control, Exchange, Sendable, StreamExchange
from .failures import as_failure, close_error, is_final, report_failure
from .lifecycle import ConnectionState, Lifecycle, Observer
from .reader import Reader, Timer
from .renewal import CredentialRenewal
from .served import LinkPeer, ServedFunctions
from .session_resumption import Resumption
from .settings import LinkSettings
from .subscriptions import SubscriptionTable
from .transport import Transport

__all__ = ["Link"]
S = ConnectionState


class Link:
    """One connection to the portal at an address.

    Args:
        address: where to connect to.
        dialer: opens connections.
        reader: watches them.
        threads: runs the dialer.
        settings: bounds and waits.
        observe: called with the old and the new state; it must not block.
        functions: what the server may call, or None.
        clock: seconds, as `time.monotonic`.

    Attributes:
        base: segments of the path of the portal.
        last_error: why there is no connection now, or None.

    Threads: any.
    """

    def __init__(
        self,
        address: Address,
        dialer: Dialer,
        reader: Reader,
        threads: Executor,
        settings: LinkSettings,
        *,
        observe: Observer | None = None,
        functions: ServedFunctions | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.address = address
        self.base = address.segments
        self._dialer, self._reader, self._threads = dialer, reader, threads
        self._settings, self._clock = settings, clock
        self._lock = new_lock()  # guards the attributes below; never held while a caller waits
        self._lifecycle = Lifecycle(settings.reconnect, observe=observe)
        self._calls = LinkCalls(address, settings)
        self._session, self._pending = self._calls.session, self._calls.session.outgoing.by_id
        self._peer = LinkPeer(functions, self._session, self._lock, self._send_text, reader.call_soon)
        self._resumption = Resumption(settings.sessions, clock)
        self._renewal = CredentialRenewal(dialer, address, reader, threads, self._lock, self._send_if_ready, clock)
        self._transport: Transport | None = None
        self._subscriptions = SubscriptionTable(self._send_now, self._notify)
        self._subscribers = self._subscriptions.ids
        self._delay = 0.0  # that the server asked for before the next connection
        self._retry: Timer | None = None
        self.last_error: PortalError | None = None
        self._closing_when_idle = self._renew = False  # whether to close; whether the credential was rejected

    # for callers

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._lifecycle.state

    @property
    def load(self) -> int:
        """The number of its calls and subscriptions."""
        return len(self._calls) + len(self._subscriptions)

    def start(self, exchange: Sendable, *, flush: bool = True) -> None:
        """Send a call now, or as soon as there is a connection; one that fails fast is ended instead of waiting long.

        Raises: TransportError after `close`; OverloadedError, SerializationError or ProtocolError if it cannot be sent.
        """
        with self._lock:
            self._require_open()
            if self._is_ready():
                self._send_now(exchange, flush=False)
            else:
                self._calls.wait(exchange)
                if self._lifecycle.hurry(self._clock()):
                    self._schedule()
                self._connect()
                if self._lifecycle.state in (S.WAITING, S.CLOSING):
                    self._calls.move_on(self.last_error)
                    self._after_a_call()
        if flush:
            self.flush()  # without the lock, so that other threads go on meanwhile

    def flush(self) -> None:
        """Send the calls that were started with `flush=False`."""
        if (transport := self._transport) is not None:
            transport.flush()

    def wait_for_room(self, deadline: float | None) -> bool:
        """Wait while too many bytes wait to be sent. Return False at the deadline."""
        return (transport := self._transport) is None or transport.wait_for_room(deadline)

    def wait(self, exchange: Exchange, deadline: float | None) -> bool:
        """Wait for the end of a call. Return False at the deadline. One that is alone receives its response itself."""
        if (transport := self._transport) is not None:
            if exchange.resumable and len(self._pending) == 1 and not self._subscribers:
                transport.receive_until(lambda: exchange.finished, deadline)
                if exchange.finished and not self._pending and not self._subscribers:
                    return True
            transport.hand_over()  # others wait
        return exchange.wait(None if deadline is None else max(0.0, deadline - self._clock()))

    def give_up(self, exchange: Exchange, error: PortalError) -> None:
        """End a call whose caller does not wait any more, and tell the server."""
        with self._lock:
            if exchange.finished:
                return
            self._calls.discard(exchange)
            if exchange.call is not None:
                self._handle(self._session.cancel(exchange.call, error))
            exchange.finish(None, error)
            self._after_a_call()
            if self._transport is not None:
                self._transport.wake()

    def grant(self, exchange: StreamExchange, items: int) -> None:
        """Accept more items of a stream."""
        with self._lock:
            self._send_text(None if exchange.call is None else self._session.grant(exchange.call, items))

    def subscribe(self, subscriber: Any) -> None:
        """Add a subscription; it is made again on each connection until `unsubscribe`. Raises: as `start`."""
        with self._lock:
            self._require_open()
            self._subscriptions.add(subscriber)
            if self._is_ready():
                self._subscriptions.request(subscriber)
            else:
                self._connect()

    def unsubscribe(self, subscriber: Any) -> None:
        """Remove a subscription."""
        with self._lock:
            self._subscriptions.remove(subscriber)
            self._after_a_call()

    def grant_events(self, subscription: str, items: int) -> None:
        """Accept more events of a subscription."""
        with self._lock:
            self._notify("rpc.credit", {"subscription": subscription, "items": items})

    def close(self) -> None:
        """End the subscriptions, and the connection once the calls in flight have their ends. May be called twice."""
        with self._lock:
            self._subscriptions.end_all(None)
            self._closing_when_idle = True
            self._after_a_call()

    # the connection; the lock is held

    def _require_open(self) -> None:
        if self._closing_when_idle:
            raise TransportError("the client is closed", address=self.address, delivery="not_sent", retryable=False)

    def _is_ready(self) -> bool:
        return self._transport is not None and self._lifecycle.state is S.OPEN and not self._resumption.in_progress

    def _connect(self) -> None:
        """Start to connect unless that is under way or must wait."""
        if self._lifecycle.connect(self._clock()):
            try:
                dialing = self._threads.submit(self._dial)
                dialing.add_done_callback(partial(report_failure, self._dial_failed, soon=self._reader.call_soon))
            except BaseException as error:
                run_all(partial(self._failed, as_failure(error, self.address)), attempts=2)
                if not isinstance(error, Exception):
                    raise

    def _failed(self, error: PortalError) -> None:
        self.last_error, final, now = error, is_final(error), self._clock()
        run_all(
            lambda: self._calls.unconnected(error, is_final=final, is_patient=self._lifecycle.is_patient(now)),
            partial(self._subscriptions.end_all, error) if final or not self._lifecycle.was_open else bool,
            lambda: self._lifecycle.failed(now, wanted=self.load > 0),
            self._schedule,
            attempts=2,
        )

    def _schedule(self) -> None:
        """Arrange for the next attempt of a connection that waits for it."""
        if self._retry is not None:
            self._retry.cancel()
        if self._lifecycle.state is S.WAITING:
            when, expiry = self._lifecycle.retry_at, self._resumption.expires_at
            if expiry is not None and self._calls.in_flight:
                when = min(when, expiry)
            self._retry = self._reader.call_at(when, self._on_timer)

    def _after_a_call(self) -> None:
        """Close an idle link that is to be closed; end a connection that the server wants to end."""
        if not self._calls.idle:
            return
        state = self._lifecycle.state
        if self._closing_when_idle:
            if self._lifecycle.close() and self._transport is not None:
                self._transport.close()
            self._schedule()
        elif state is S.CLOSING and self._transport is not None:
            self._transport.close(CloseCode.NORMAL, "going away")
        elif state is S.WAITING and not self.load:
            self._lifecycle.unwanted()
            self._schedule()

    # threads of the dialer and timers

    def _dial(self) -> None:
        try:
            renew, self._renew = self._renew, False
            dialed, limits = self._dialer.dial(self.address, renew=renew), self._settings
            transport = Transport(dialed, self._reader, self, heartbeat=limits.heartbeat, max_queued=limits.max_queued)
            try:
                self._attach(transport, dialed)
            except BaseException as error:  # for example, no thread can be started that reads
                transport.on_failure(error)
                raise
        except BaseException as error:
            run_all(partial(self._dial_failed, error), attempts=2)

    def _dial_failed(self, error: BaseException) -> None:
        with self._lock:
            if self._lifecycle.state is S.CONNECTING:
                self._failed(as_failure(error, self.address))

    def _attach(self, transport: Transport, dialed: Dialed) -> None:
        with self._lock:
            opened = self._lifecycle.opened(self._clock())
            if opened:
                self.base = dialed.base
                self._transport, self.last_error, self._delay = transport, None, 0.0
                self._renewal.opened(dialed.credentials)
                self._begin()
        transport.start()
        if not opened:
            transport.close()

    def _on_timer(self) -> None:
        with self._lock:
            if self._lifecycle.state is not S.WAITING:
                return
            if self._resumption.has_expired():
                self._resumption.forget()
                self._calls.settle(self._reason())
                self._after_a_call()
            (self._connect if self._lifecycle.is_due(self._clock()) else self._schedule)()

    # a new transport; the lock is held

    def _begin(self) -> None:
        """Resume the session if calls of it are in flight; otherwise ask for one and go on at once."""
        calls = self._calls.resumable
        if calls and self._resumption.session is not None:
            self._send_now(Control("rpc.resume", self._resumption.request(calls), self._on_resumed))
            timer = self._reader.call_at(self._clock() + self._settings.resume_timeout, self._on_resume_timeout)
            self._resumption.start(timer)
            return
        if self._settings.sessions:
            self._resumption.forget()
            self._send_now(Control("rpc.resume", {}, self._on_session))
        self._go_on()

    def _go_on(self) -> None:
        """Subscribe again, and send what waits."""
        for subscriber in self._subscriptions:
            self._subscriptions.request(subscriber)
        for exchange in self._calls.waiting:
            try:
                self._send_now(exchange)
            except PortalError as error:
                self._calls.end_waiting(exchange, error)

    def _on_session(self, result: JSONValue, error: PortalError | None) -> None:
        self._resumption.on_session(result, error)
        self._renewal.note(result)

    def _on_resumed(self, result: JSONValue, error: PortalError | None) -> None:
        self._renewal.note(result)
        if (missing := self._resumption.on_resumed(result, error)) is None:
            self._calls.settle(self._reason())
        else:
            for call in self._calls.resumable:
                if call.id in missing:
                    self._send_text(call.tag.text)
        self._go_on()

    def _reason(self) -> str:
        return "the server has lost the session" if self.last_error is None else self.last_error.message

    def _on_resume_timeout(self) -> None:
        with self._lock:
            if self._resumption.in_progress and self._transport is not None:
                self._transport.abort("the server did not respond to rpc.resume in time")

    # sending; the lock is held

    def _send_now(self, exchange: Sendable, *, flush: bool = True) -> None:
        text = self._calls.encode(exchange, len(self.base), self._clock(), keeps=self._resumption.session is not None)
        self._send_text(text, flush=flush)

    def _send_if_ready(self, control: Control) -> None:
        if self._is_ready():
            self._send_now(control)

    def _notify(self, method: str, params: JSONObject) -> None:
        self._send_text(self._session.notify(method, params) if self._is_ready() else None)

    def _send_text(self, text: bytes | None, *, flush: bool = True) -> None:
        if text is not None and self._transport is not None:
            self._transport.send(text, flush=flush)

    # what arrives, in the reading thread

    def on_text(self, transport: Transport, text: str | bytes) -> None:
        """Take a message of the server."""
        with self._lock:
            if transport is self._transport:
                events = self._session.receive(text, self._clock())
                try:
                    self._handle(events, len(text))
                except BaseException:
                    finish_all(events)
                    raise
                if self._closing_when_idle or self._lifecycle.state is S.CLOSING:
                    self._after_a_call()

    def _handle(self, events: list[Event], size: int = 0) -> None:
        for event in events:
            if isinstance(event, CallEnded):
                event.call.tag.finish(event.result, event.error)
            elif isinstance(event, Send):
                self._send_text(event.text)
            elif isinstance(event, ItemReceived):
                event.call.tag.add(event.data)
            elif isinstance(event, GoAwayReceived):
                self._delay = event.delay
                self._lifecycle.closing()
            elif not self._peer.handle(event):
                self._subscriptions.handle(event, size)

    def on_lost(self, transport: Transport, code: int, reason: str) -> None:
        """Settle the calls in flight, and come back if the connection is wanted."""
        with self._lock:
            if transport is not self._transport:
                return
            self._transport = None
            error = self.last_error = close_error(code, reason, self.address)
            final, self._renew = code == CloseCode.FORBIDDEN, self._renew or code == CloseCode.CREDENTIALS_EXPIRED
            run_all(
                self._peer.lost,
                self._renewal.lost,
                lambda: self._resumption.interrupt(code),
                lambda: self._calls.lost(error, resumable=self._resumption.session is None, is_final=final),
                self._resumption.keep,
                lambda: self._subscriptions.lost(error if final else None),
                lambda: self._lifecycle.lost(self._clock(), wanted=self.load > 0, delay=self._delay),
                self._schedule,
                self._after_a_call,
                attempts=2,
            )
