"""The events that a Session returns, and the calls of both directions that they name."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from .._internal.json_text import JSONObject, JSONValue
from ..errors import PortalError
from ..jsonrpc.messages import Id

__all__ = [
    "CallEnded",
    "CallReceived",
    "CancelReceived",
    "CompleteReceived",
    "CreditReceived",
    "Event",
    "EventReceived",
    "GapReceived",
    "GoAwayReceived",
    "Ignored",
    "IncomingCall",
    "ItemReceived",
    "OutgoingCall",
    "Send",
    "StrayCancelReceived",
]


class OutgoingCall:
    """A call that this side has sent.

    Attributes:
        id: the id of its request.
        method: the called method.
        tag: an object of the caller, such as a Future.
        deadline: the moment at which the session ends the call, or None.
        credit: items of a stream that the peer may still send; None without a limit.
        ended: whether the session has returned its CallEnded.

    Threads: only the owner of the session changes it.
    """

    __slots__ = ("credit", "deadline", "ended", "id", "method", "tag")

    def __init__(self, call_id: int, method: str, tag: Any, deadline: float | None, credit: int | None) -> None:
        self.id = call_id
        self.method = method
        self.tag = tag
        self.deadline = deadline
        self.credit = credit
        self.ended = False

    def __repr__(self) -> str:
        return f"OutgoingCall(id={self.id}, method={self.method!r})"


class IncomingCall:
    """A call that the peer has sent. The owner responds to it once, also to a notification.

    Attributes:
        id: the id of the request; None for a notification, and for a request whose id is null.
        method: the called method.
        params: a dict by name or a list by position.
        meta: the `meta` member, or None.
        notification: whether the peer gets no response.
        arrived: the moment at which it was received.
        cancelled: whether the peer has cancelled it, or is gone.
        credit: items of a stream that this side may still send; None without a limit.
        ended: whether the owner has responded.
        tag: an object of the owner, such as the context of the call.
        batch: the batch that it is part of, or None; of the session alone.

    Threads: only the owner of the session changes it.
    """

    __slots__ = (
        "arrived",
        "batch",
        "cancelled",
        "credit",
        "ended",
        "id",
        "meta",
        "method",
        "notification",
        "params",
        "tag",
    )

    def __init__(
        self,
        call_id: Id,
        method: str,
        params: JSONObject | list[JSONValue],
        *,
        meta: JSONObject | None = None,
        notification: bool = False,
        arrived: float = 0.0,
        batch: Any = None,
        credit: int | None = None,
    ) -> None:
        self.id = call_id
        self.method = method
        self.params = params
        self.meta = meta
        self.notification = notification
        self.arrived = arrived
        self.cancelled = False
        self.credit = credit
        self.ended = False
        self.tag: Any = None
        self.batch = batch

    def __repr__(self) -> str:
        return f"IncomingCall(id={self.id!r}, method={self.method!r})"


class Send(NamedTuple):
    """A text for the peer: the owner sends it."""

    text: bytes


class CallReceived(NamedTuple):
    """The peer calls a method of this side."""

    call: IncomingCall


class CancelReceived(NamedTuple):
    """The peer no longer wants the result of a call, or is gone. The owner still responds to the call."""

    call: IncomingCall


class StrayCancelReceived(NamedTuple):
    """The peer no longer wants the result of a call that this session does not know.

    It has ended, or it came on an earlier connection.
    """

    call_id: Id


class CreditReceived(NamedTuple):
    """The peer accepts more items of a stream, or more events of a subscription.

    Attributes:
        call: the call whose stream it is, or None.
        subscription: the subscription, or None.
        items: how many more.
    """

    call: IncomingCall | None
    subscription: str | None
    items: int


class CallEnded(NamedTuple):
    """A call of this side has its end. Each call gets exactly one.

    Attributes:
        result: the result; None if there is an error, and for a stream.
        error: the error of the peer or of this session, or None.
        meta: the `meta` member of the response, or None.
    """

    call: OutgoingCall
    result: JSONValue
    error: PortalError | None
    meta: JSONObject | None = None


class ItemReceived(NamedTuple):
    """The next item of a stream that this side has called."""

    call: OutgoingCall
    data: JSONValue


class EventReceived(NamedTuple):
    """An event of a subscription."""

    subscription: str
    epoch: str
    offset: int
    data: JSONValue
    key: str | None


class GapReceived(NamedTuple):
    """Events of a subscription that this side does not get.

    Attributes:
        missing: how many; None if that is not known.
        reason: "dropped", "trimmed" or "epoch".
        epoch, offset: the position after the gap, from which to resume; None if the peer did not tell.
    """

    subscription: str
    missing: int | None
    reason: str
    epoch: str | None
    offset: int | None


class CompleteReceived(NamedTuple):
    """The peer has ended a subscription.

    Attributes:
        error: why; None if the topic was removed or closed.
    """

    subscription: str
    error: PortalError | None


class GoAwayReceived(NamedTuple):
    """The peer will close this connection soon.

    Attributes:
        reason: text for logs.
        delay: seconds to wait before connecting again.
        session: the session to resume, or None.
    """

    reason: str
    delay: float
    session: str | None


class Ignored(NamedTuple):
    """A message that the session does not use.

    Attributes:
        reason: "late" for a response to a call that has ended, also for a second response; "unknown" for a response
            to a call that was never made, and for a stream that is not known; "invalid" for wrong parameters of a
            reserved notification; "overload" for a notification beyond the limit.
        id: the id that the message names, or None.
        error: the error that the peer reports or that is found in the message, or None.
    """

    reason: Literal["late", "unknown", "invalid", "overload"]
    id: Id
    error: PortalError | None = None


Event = (
    Send
    | CallReceived
    | CancelReceived
    | StrayCancelReceived
    | CreditReceived
    | CallEnded
    | ItemReceived
    | EventReceived
    | GapReceived
    | CompleteReceived
    | GoAwayReceived
    | Ignored
)
