"""Session: one side of a JSON-RPC 2.0 conversation, without I/O. Texts and moments in, events and texts out.

Both sides use the same class, and either may call the other. Reserved methods extend JSON-RPC:

    rpc.cancel {id}                    the sender no longer wants the result of its call
    rpc.credit {id, items}             the sender accepts more items of the stream of its call
    rpc.credit {subscription, items}   the same for a subscription
    rpc.item {id, data}                the next item of the stream of the receiver's call
    rpc.event, rpc.gap, rpc.complete   an event of a subscription, events that are missing, its end
    rpc.goaway                         the sender will close the connection
    rpc.ping                           responded to by the session

Other methods that begin with "rpc.", such as rpc.subscribe, are calls for the owner. The response to the call of a
stream is its end: `null`, or an error. A cancelled call gets a response as well.

    call, text = session.call("add", [1, 2], tag=future, deadline=now + 1.0)
    for event in session.receive(text, now):
        match event:
            case Send(text): ...
            case CallReceived(call): ...
            case CallEnded(call, result, error): ...

Source: JSON-RPC 2.0 specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._internal.json_encoder import encode_json
from .._internal.json_text import BodyDecoder, JSONObject, JSONValue
from .._internal.settings import count, size
from ..errors import (
    CallCancelled,
    CallTimeout,
    OverloadedError,
    PortalError,
    ProtocolError,
)
from ..jsonrpc import messages as jsonrpc
from ..jsonrpc.encoding import encode_error, encode_response, may_be_deep, require_shallow
from . import wire
from .events import (
    CallEnded,
    CallReceived,
    Event,
    Ignored,
    IncomingCall,
    OutgoingCall,
    Send,
)
from .extensions import HANDLERS, cancel_incoming, give_up
from .incoming import Batch, IncomingCalls
from .pending import PendingCalls
from .reserved import initial_credit

__all__ = ["Session"]

Params = Mapping[str, JSONValue] | list[JSONValue] | None
_NO_META: JSONObject = {}


class Session:
    """One side of a conversation.

    Args:
        max_calls: calls of the peer that run at a time at most. Further ones get OverloadedError.
        max_pending: calls of this side without a response at most.
        max_batch_response: bytes of the results of one batch at most.
        decoder: decodes the texts; one with the default bound when None.
        debug: whether the peer sees what functions of this side raise.

    Raises: ConfigError for a wrong setting.

    Threads: one at a time; the owner has a lock. It sends the texts in the order in which it got them.
    """

    def __init__(
        self,
        *,
        max_calls: int = 1000,
        max_pending: int = 10_000,
        max_batch_response: int = 8 * 1024 * 1024,
        decoder: BodyDecoder | None = None,
        debug: bool = False,
    ) -> None:
        self._pending = PendingCalls(count("session.max_pending", max_pending))
        self._incoming = IncomingCalls(count("session.max_calls", max_calls))
        self._max_batch_response = size("session.max_batch_response", max_batch_response)
        self._decoder = decoder or BodyDecoder()
        self._debug = debug

    # calls of this side

    def call(
        self,
        method: str,
        params: Params = None,
        *,
        tag: Any = None,
        deadline: float | None = None,
        meta: JSONObject | None = None,
        credit: int | None = None,
    ) -> tuple[OutgoingCall, bytes]:
        """Return a new call and the text of its request.

        Args:
            tag: an object of the caller, which the call holds.
            deadline: the moment at which `expire` ends the call.
            meta: the `meta` member.
            credit: for a stream, the items that the peer may send before it needs more; it is added to `meta`.

        Raises: OverloadedError with too many pending calls. SerializationError for parameters that JSON cannot carry.
        """
        if credit is not None:
            meta = {**(meta or {}), "credit": credit}
        call = self._pending.add(method, tag=tag, deadline=deadline, credit=credit)
        try:
            return call, encode_json(jsonrpc.request(call.id, method, params, meta=meta))
        except BaseException:
            self._pending.end(call)
            raise

    def call_plain(self, method: str, params: Params, tag: Any, meta: bytes) -> tuple[OutgoingCall, bytes]:
        """Return a new call and the text of its request, as `call`, for a call without deadline and credit.

        Args:
            meta: the `meta` member, as JSON text.
        """
        call = self._pending.add(method, tag=tag, deadline=None, credit=None)
        try:
            parts = encode_json(method), encode_json({} if params is None else params), call.id, meta
        except BaseException:
            self._pending.end(call)
            raise
        return call, b'{"jsonrpc":"2.0","method":%b,"params":%b,"id":%d,"meta":%b}' % parts

    def call_batch(
        self,
        requests: Iterable[tuple[str, Params, Any]],
        *,
        deadline: float | None = None,
        meta: JSONObject | None = None,
    ) -> tuple[list[OutgoingCall], bytes]:
        """Return new calls and the text of their batch.

        Args:
            requests: (method, parameters, tag) of each call; at least one.

        Raises: as `call`; then none of the calls is pending.
        """
        calls: list[OutgoingCall] = []
        messages: list[JSONValue] = []
        try:
            for method, params, tag in requests:
                calls.append(self._pending.add(method, tag=tag, deadline=deadline, credit=None))
                messages.append(jsonrpc.request(calls[-1].id, method, params, meta=meta))
            return calls, encode_json(messages)
        except BaseException:
            for call in calls:
                self._pending.end(call)
            raise

    def notify(self, method: str, params: Params = None, *, meta: JSONObject | None = None) -> bytes:
        """Return the text of a notification. Raises: SerializationError."""
        return encode_json(jsonrpc.request(None, method, params, notification=True, meta=meta))

    def cancel(self, call: OutgoingCall, error: PortalError | None = None) -> list[Event]:
        """End a call that the caller has given up, and tell the peer. Return nothing if it has ended already.

        Args:
            error: its end; CallCancelled when None.
        """
        return give_up(self._pending, call, error or CallCancelled(f"the call of {call.method} was cancelled"))

    def grant(self, call: OutgoingCall, items: int) -> bytes | None:
        """Accept more items of a stream. Return the text for the peer, or None if the call has ended."""
        if call.ended:
            return None
        if call.credit is not None:
            call.credit += items
        return wire.credit_for_call(call.id, items)

    def next_deadline(self) -> float | None:
        """Return the moment at which `expire` has something to do, or None."""
        return self._pending.next_deadline()

    def expire(self, now: float) -> list[Event]:
        """End the calls whose deadline has passed, and tell the peer."""
        events: list[Event] = []
        for call in self._pending.expired(now):
            words = f"{call.method} did not respond in time; it may still be running"
            events += self.cancel(call, CallTimeout(words))
        return events

    @property
    def pending(self) -> list[OutgoingCall]:
        """The calls of this side that have no end yet, in order."""
        return self._pending.all()

    @property
    def outgoing(self) -> PendingCalls:
        """The calls of this side that have no end yet; only the session changes them."""
        return self._pending

    # calls of the peer

    def respond(self, call: IncomingCall, result: JSONValue, *, meta: JSONObject | None = None) -> bytes | None:
        """End a call of the peer with its result; that of a stream is None.

        A cancelled call gets CallCancelled in place of a result that nobody wants.

        Returns: the text to send; None for a notification, for a call that has ended, and for a batch of which other
            calls still run.
        Raises: SerializationError for a result that JSON cannot carry; the call has not ended then.
        """
        if call.ended:
            return None
        if call.cancelled:
            return self.fail(call, CallCancelled("the caller cancelled the call"), meta=meta)
        if call.notification:
            return self._end(call, None)
        return self._end(call, encode_response(call.id, result, meta), is_result=True)

    def fail(self, call: IncomingCall, error: PortalError, *, meta: JSONObject | None = None) -> bytes | None:
        """End a call of the peer with an error; otherwise as `respond`."""
        if call.ended:
            return None
        part = None if call.notification else encode_error(call.id, error, debug=self._debug, meta=meta)
        return self._end(call, part)

    def _end(self, call: IncomingCall, part: bytes | None, *, is_result: bool = False) -> bytes | None:
        self._incoming.end(call)
        batch, call.batch = call.batch, None
        return part if batch is None else batch.add(call.id, part, is_result=is_result)

    def item(self, call: IncomingCall, data: JSONValue) -> bytes | None:
        """Return the text of the next item of a stream; None if the call has ended or is cancelled.

        It takes one of the credit; the owner does not call this without credit.

        Raises: SerializationError for data that JSON cannot carry.
        """
        if call.ended or call.cancelled:
            return None
        text = wire.item(call.id, data)
        if call.credit is not None:
            call.credit -= 1
        return text

    @property
    def running(self) -> list[IncomingCall]:
        """The calls of the peer that have no response yet."""
        return self._incoming.all()

    # texts of the peer

    def receive(self, text: bytes | str, now: float) -> list[Event]:
        """Return the events of a text from the peer, in order. Raises nothing.

        Args:
            text: one whole message.
            now: the moment of its arrival.
        """
        try:
            value = self._decoder.decode(text)
        except PortalError as error:  # not JSON, or too many objects and arrays
            found = jsonrpc.Messages([jsonrpc.Invalid(None, error)], False)
        else:
            event = self._take_plain(value, text, now)
            if event is not None:
                return [event]
            found = jsonrpc.classify(value, responses=True)
        deep = may_be_deep(text)
        batch = Batch(self._max_batch_response) if found.is_batch else None
        events: list[Event] = []
        for message in found.messages:
            if isinstance(message, jsonrpc.Request):
                self._on_request(message, now, batch, deep, events)
            elif isinstance(message, jsonrpc.JSONRPCResponse):
                self._on_response(message, events)
            elif message.is_response:
                self._on_response(jsonrpc.JSONRPCResponse(message.id, error=message.error), events)
            else:
                self._reply(encode_error(message.id, message.error, debug=self._debug), batch, events)
        if batch is not None and (whole := batch.close()) is not None:
            events.append(Send(whole))
        return events

    def _take_plain(self, value: JSONValue, text: bytes | str, now: float) -> Event | None:
        """Return the event of a plain call or a plain result; None for a message that needs a closer look.

        Nearly all messages are plain. It makes none of the objects that the others need.
        """
        if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
            return None
        call_id, method = value.get("id"), value.get("method")
        if type(call_id) is not int:
            return None
        if method is None:
            sent = self._pending.by_id.get(call_id) if len(value) == 3 and "result" in value else None
            if sent is None:
                return None
            self._pending.end(sent)
            return CallEnded(sent, value["result"], None)
        params, meta = value.get("params"), value.get("meta", _NO_META)
        if not (isinstance(method, str) and isinstance(params, dict) and isinstance(meta, dict)):
            return None
        if method[:4] == "rpc." or not method.isascii() or "credit" in meta or may_be_deep(text):
            return None
        if self._incoming.full or self._incoming.get(call_id) is not None:
            return None
        call = IncomingCall(call_id, method, params, meta=meta or None, arrived=now)
        self._incoming.enter(call)
        return CallReceived(call)

    def close(self, error: PortalError) -> list[Event]:
        """End every call of this side with an error, and cancel those of the peer: the connection is gone.

        The owner responds to those all the same.
        """
        events = self.fail_pending(error)
        for incoming in self._incoming.all():
            events += cancel_incoming(incoming)
        return events

    def fail_pending(self, error: PortalError) -> list[Event]:
        """End every call of this side with an error: no response can come any more."""
        events: list[Event] = []
        for call in self._pending.all():
            self._pending.end(call)
            events.append(CallEnded(call, None, error))
        return events

    def cancel_some(self, which: Callable[[IncomingCall], bool]) -> list[Event]:
        """Cancel those calls of the peer, which run still. The owner ends them all the same."""
        return [event for call in self._incoming.all() if which(call) for event in cancel_incoming(call)]

    def drop_running(self) -> list[Event]:
        """Cancel and end the calls of the peer without a response: it has forgotten them, or uses their ids anew."""
        events: list[Event] = []
        for call in self._incoming.all():
            events += cancel_incoming(call)
            self._incoming.end(call)
        return events

    def _reply(self, part: bytes, batch: Batch | None, events: list[Event]) -> None:
        if batch is None:
            events.append(Send(part))
        else:
            batch.add_now(part)

    def _on_response(self, message: jsonrpc.JSONRPCResponse, events: list[Event]) -> None:
        call = self._pending.get(message.id)
        if call is None:
            reason: Any = "late" if self._pending.was_made(message.id) else "unknown"
            events.append(Ignored(reason, message.id, message.error))
            return
        self._pending.end(call)
        events.append(CallEnded(call, message.result, message.error, message.meta))

    def _on_request(
        self, message: jsonrpc.Request, now: float, batch: Batch | None, deep: bool, events: list[Event]
    ) -> None:
        method = message.method
        try:
            if deep:
                require_shallow(message.params)
            if method.startswith("rpc.") and (handle := HANDLERS.get(method)) is not None:
                result = handle(self._pending, self._incoming, message, events)
                if not message.notification:
                    self._reply(encode_response(message.id, result), batch, events)
                return
            if self._incoming.get(message.id) is not None:
                # The id is in use, so a response with it would seem to be that of the call that runs.
                error = ProtocolError(f"invalid request: id must not be that of a call that runs, got {message.id!r}")
                self._reply(encode_error(None, error), batch, events)
                return
            if self._incoming.full:
                words = f"a connection must have at most {self._incoming.limit} calls that run"
                raise OverloadedError(words, retry_after=1.0)
            credit = initial_credit(message)
        except PortalError as error:
            if message.notification:
                overload = isinstance(error, OverloadedError)
                events.append(Ignored("overload" if overload else "invalid", None, error))
            else:
                self._reply(encode_error(message.id, error, debug=self._debug), batch, events)
            return
        events.append(CallReceived(self._incoming.add(message, now, batch, credit)))
