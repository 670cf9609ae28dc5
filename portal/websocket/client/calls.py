"""LinkCalls: the calls of a link, those that wait for a connection and those in flight."""

from __future__ import annotations

from ...address import Address
from ...errors import PortalError
from ..events import OutgoingCall
from ..protocol import Session
from .exchange import Control, Exchange, Sendable
from .failures import copy_error, lost_error

__all__ = ["LinkCalls"]


class LinkCalls:
    """The calls of a link.

    Args:
        address: of the portal, for errors.

    Attributes:
        session: the calls in flight. It outlives connections, so that an id means one call.

    Threads: one at a time; the lock of the link guards it.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._waiting: dict[Sendable, None] = {}  # in order; not sent yet, or to be sent once more
        self.session = Session()

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

    def take_waiting(self) -> list[Sendable]:
        """Return the calls that wait, in order; they wait no more."""
        waiting, self._waiting = list(self._waiting), {}
        return waiting

    def discard(self, exchange: Exchange) -> None:
        """Remove a call that waits."""
        self._waiting.pop(exchange, None)

    def drop_controls(self) -> None:
        """Forget the calls of the link itself, which are for one connection."""
        for call in self.session.pending:
            if isinstance(call.tag, Control):
                self.session.cancel(call)

    def settle(self, reason: str, *, resumable: bool = True) -> None:
        """End the calls whose responses cannot come any more, or let them wait to be sent once more.

        Args:
            reason: of the loss of the connection.
            resumable: whether calls whose responses a session might keep are among them.
        """
        again: list[Sendable] = []
        for call in self.in_flight:
            exchange = call.tag
            if exchange.resumable and not resumable:
                continue
            self.session.cancel(call)
            if exchange.may_be_sent_again():
                again.append(exchange)
            else:
                exchange.finish(None, lost_error(self._address, reason))
        self._waiting = dict.fromkeys([*again, *self._waiting])

    def fail_in_flight(self, error: PortalError) -> None:
        """End the calls in flight with an error that says that they may have been executed."""
        for call in self.in_flight:
            self.session.cancel(call)
            call.tag.finish(None, copy_error(error, sent=True))

    def fail_waiting(self, error: PortalError) -> None:
        """End the calls that wait with an error."""
        for exchange in self.take_waiting():
            exchange.finish(None, copy_error(error, sent=exchange.sends > 0))
