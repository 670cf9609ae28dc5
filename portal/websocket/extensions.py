"""The reserved methods that a session handles by itself: rpc.ping, rpc.cancel, rpc.credit, rpc.item and rpc.event.

Each handler takes the calls of both directions and a request, adds events, and returns the result for a request that
wants a response.
"""

from __future__ import annotations

from collections.abc import Callable

from .._internal.json_text import JSONValue
from ..errors import PortalError, ProtocolError
from ..jsonrpc.messages import Request
from . import wire
from .events import (
    CallEnded,
    CancelReceived,
    CreditReceived,
    Event,
    Ignored,
    IncomingCall,
    ItemReceived,
    OutgoingCall,
    Send,
    StrayCancelReceived,
)
from .incoming import IncomingCalls
from .pending import PendingCalls
from .reserved import MAX_CREDIT, complete_of, credit_of, event_of, gap_of, go_away_of, id_of, item_of

__all__ = ["HANDLERS", "Handler", "cancel_incoming", "give_up"]

Handler = Callable[[PendingCalls, IncomingCalls, Request, list[Event]], JSONValue]


def give_up(pending: PendingCalls, call: OutgoingCall, error: PortalError) -> list[Event]:
    """End a call of this side with an error, and tell the peer. Return nothing if it has ended already."""
    if not pending.end(call):
        return []
    return [Send(wire.cancel(call.id)), CallEnded(call, None, error)]


def cancel_incoming(call: IncomingCall) -> list[Event]:
    """Note that the peer no longer wants the result of its call."""
    if call.cancelled:
        return []
    call.cancelled = True
    return [CancelReceived(call)]


def _on_ping(pending: PendingCalls, incoming: IncomingCalls, message: Request, events: list[Event]) -> JSONValue:
    return {}


def _on_cancel(pending: PendingCalls, incoming: IncomingCalls, message: Request, events: list[Event]) -> JSONValue:
    call_id = id_of(message)
    call = incoming.get(call_id)
    if call is not None:
        events += cancel_incoming(call)
    else:
        events.append(StrayCancelReceived(call_id))
    return call is not None


def _on_credit(pending: PendingCalls, incoming: IncomingCalls, message: Request, events: list[Event]) -> JSONValue:
    call_id, subscription, items = credit_of(message)
    call = incoming.get(call_id)
    if subscription is None and call is None:  # the stream has ended
        return False
    if call is not None and call.credit is not None:
        call.credit = min(call.credit + items, MAX_CREDIT)
    events.append(CreditReceived(call, subscription, items))
    return True


def _on_item(pending: PendingCalls, incoming: IncomingCalls, message: Request, events: list[Event]) -> JSONValue:
    call_id, data = item_of(message)
    call = pending.get(call_id)
    if call is None:
        events.append(Ignored("late" if pending.was_made(call_id) else "unknown", call_id))
        return False
    if call.credit is not None:
        if call.credit <= 0:
            events += give_up(pending, call, ProtocolError(f"{call.method} sent more items than were accepted"))
            return False
        call.credit -= 1
    events.append(ItemReceived(call, data))
    return True


def _on_subscription(
    pending: PendingCalls, incoming: IncomingCalls, message: Request, events: list[Event]
) -> JSONValue:
    events.append(_READERS[message.method](message))
    return True


_READERS: dict[str, Callable[[Request], Event]] = {
    "rpc.event": event_of,
    "rpc.gap": gap_of,
    "rpc.complete": complete_of,
    "rpc.goaway": go_away_of,
}
HANDLERS: dict[str, Handler] = {
    "rpc.ping": _on_ping,
    "rpc.cancel": _on_cancel,
    "rpc.credit": _on_credit,
    "rpc.item": _on_item,
    **dict.fromkeys(_READERS, _on_subscription),
}
