"""LinkCalls: the calls of a link, those that wait for a connection and those in flight."""

from __future__ import annotations

from ...address import Address
from ...errors import PortalError, ProtocolError, TransportError
from ..events import CallEnded, Event, OutgoingCall
from ..protocol import Session
from .exchange import Control, Sendable
from .failures import copy_error, is_refused
from .settings import LinkSettings

__all__ = ["LinkCalls", "finish_all"]

_GOING_AWAY = "the server is going away and takes no more calls"


class LinkCalls:
    """The calls of a link.

    Args:
        address: of the portal, for errors.
        settings: bounds of messages, and whether the client uses sessions.

    Attributes:
        session: the calls in flight. It outlives connections, so that an id means one call.

    Threads: one at a time; the lock of the link guards it.
    """

    def __init__(self, address: Address, settings: LinkSettings) -> None:
        self._address = address
        self._max_message_size = settings.max_message_size
        self._sessions = settings.sessions
        self._waiting: dict[Sendable, None] = {}  # in order; not sent yet, or to be sent once more
        self.session = Session()
        self._outgoing = self.session.outgoing

    def __len__(self) -> int:
        return len(self._waiting) + len(self.session.outgoing)

    @property
    def in_flight(self) -> list[OutgoingCall]:
        """The calls of callers that were sent and have no end yet."""
        return [call for call in self.session.pending if not isinstance(call.tag, Control)]

    @property
    def resumable(self) -> list[OutgoingCall]:
        """The calls in flight whose responses a session keeps."""
        return [call for call in self.session.pending if call.tag.resumable]

    @property
    def idle(self) -> bool:
        """Whether no caller waits."""
        return not self._waiting and not self.in_flight

    def wait(self, exchange: Sendable) -> None:
        """Keep a call until there is a connection."""
        self._waiting[exchange] = None

    @property
    def waiting(self) -> list[Sendable]:
        """The calls that wait, in order."""
        return list(self._waiting)

    def discard(self, exchange: Sendable) -> None:
        """Remove a call that waits."""
        self._waiting.pop(exchange, None)

    def encode(self, exchange: Sendable, base: int, now: float, *, keeps: bool) -> bytes:
        """Return the text of the request of a call, which is in flight from now on.

        Args:
            base: number of segments of the path of the portal.
            now: the moment at which it is sent.
            keeps: whether the server keeps the responses; it is told which ones have arrived.

        Raises: OverloadedError with too many calls; SerializationError; ProtocolError for a message that is too long.
        """
        session, meta = self.session, None
        method, params = exchange.request(base)
        if keeps:
            meta = exchange.encoded_meta(now, self._outgoing.first)
        if meta is not None:
            call, text = session.call_plain(method, params, exchange, meta)
        else:
            members = exchange.meta(now)
            if keeps and members is not None:
                members["pending"] = self._outgoing.first
            call, text = session.call(method, params, tag=exchange, meta=members, credit=exchange.credit)
        if len(text) > self._max_message_size:
            session.cancel(call)
            raise self._too_long(len(text))
        exchange.call = call
        self._waiting.pop(exchange, None)
        exchange.sends += 1
        exchange.sent_at = now
        if exchange.resumable and self._sessions:
            exchange.text = text
        return text

    def _too_long(self, size: int) -> ProtocolError:
        words = f"a message must have at most {self._max_message_size} bytes, got {size}"
        hint = "pass a larger WebSocketClient(max_message_size=...), if the server accepts it"
        return ProtocolError(words, status=413, delivery="not_sent", address=self._address, hint=hint)

    def drop_controls(self) -> None:
        """Forget the calls of the link itself, which are for one connection."""
        for call in self.session.pending:
            if isinstance(call.tag, Control):
                self.session.cancel(call)

    def lost(self, error: PortalError, *, resumable: bool, is_final: bool) -> None:
        """Settle the calls as their connection is lost.

        Args:
            error: why.
            resumable: as for `settle`.
            is_final: whether there will be no connection.
        """
        self.drop_controls()
        self.settle(error.message, resumable=resumable)
        if is_final:
            self.fail_waiting(error)
            self.fail_in_flight(error)

    def settle(self, reason: str, *, resumable: bool = True) -> None:
        """End the calls whose responses cannot come any more, or let them wait to be sent once more.

        Args:
            reason: of the loss of the connection.
            resumable: whether calls whose responses a session might keep are among them.
        """
        # Each call stays in one of the two places until it has ended, whatever step raises.
        ended = [call for call in self.in_flight if resumable or not call.tag.resumable]
        again = [call.tag for call in ended if call.tag.may_be_sent_again()]
        self._waiting = dict.fromkeys([*again, *self._waiting])
        for call in ended:
            if not call.tag.may_be_sent_again():
                call.tag.lost(self._address, reason)
            self.session.cancel(call)

    def unconnected(self, error: PortalError, *, is_final: bool, is_patient: bool) -> None:
        """End calls as an attempt to connect has failed.

        Args:
            is_final: whether there will be no connection.
            is_patient: whether calls wait for the next attempt.
        """
        if is_final:
            self.fail_in_flight(error)
        else:
            self.move_on(error)
        if is_final or not is_patient:
            if is_refused(error):  # the server has ended, and its sessions with it
                self.settle(f"the server has ended: {error.message}")
            self.fail_waiting(error)

    def move_on(self, error: PortalError | None) -> None:
        """End the calls that another instance may take.

        Args:
            error: why there is no connection; None if the server wants to end it.
        """
        reason = TransportError(_GOING_AWAY, delivery="not_sent", address=self._address) if error is None else error
        for exchange in [one for one in self._waiting if one.fails_fast]:
            self.end_waiting(exchange, copy_error(reason, sent=exchange.sends > 0))
        for call in self.in_flight:
            if call.tag.fails_fast and call.tag.idempotent:
                call.tag.finish(None, copy_error(reason, sent=True))
                self.session.cancel(call)

    def fail_in_flight(self, error: PortalError) -> None:
        """End the calls in flight with an error that says that they may have been executed."""
        for call in self.in_flight:
            call.tag.finish(None, copy_error(error, sent=True))
            self.session.cancel(call)

    def fail_waiting(self, error: PortalError) -> None:
        """End the calls that wait with an error."""
        for exchange in self.waiting:
            self.end_waiting(exchange, copy_error(error, sent=exchange.sends > 0))

    def end_waiting(self, exchange: Sendable, error: PortalError) -> None:
        """End a call that waits."""
        exchange.finish(None, error)
        self._waiting.pop(exchange, None)


def finish_all(events: list[Event]) -> None:
    """Finish the calls of callers that a session has ended and forgotten, as handling the events has failed."""
    for event in events:
        if isinstance(event, CallEnded) and not isinstance(event.call.tag, Control):
            event.call.tag.finish(event.result, event.error)
