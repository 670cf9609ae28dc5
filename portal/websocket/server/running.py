"""Caller: the other side of a connection; RunningCall: a call of it; StreamWork: one whose items wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any, Protocol

from ..._internal.background import run_apart
from ..._internal.closing import close_and_log, run_all
from ..._internal.job_queue import Keys
from ..._internal.json_text import JSONObject, JSONValue
from ..._internal.log import get_logger
from ...context import CallContext, Identity
from ...errors import CallCancelled, OverloadedError, PortalError
from ...serving import Request, Work
from ...serving.messages.held_keys import HeldKeys
from ..close_codes import CloseCode
from ..events import IncomingCall
from .sessions import KeptSession
from .subscriptions import Subscriptions

__all__ = ["Caller", "Peer", "RunningCall", "StreamWork"]

_log = get_logger("portal.websocket")
_END: Any = object()


class Caller(Protocol):
    """The other side of a connection, as its calls use it: a client of a server, or the server of a client.

    Texts are sent in the order in which they were made, and sending never waits. The connection calls
    `call.tag.cancel()` on CancelReceived. It calls `call.tag.go_on()` on CreditReceived, and when the other side has
    read the output that waited for it. If the tag is None it calls neither; see `RunningCall`.

    Attributes:
        id: tells connections apart.
        request: the request of the handshake.
        address: the network address of a client, behind trusted proxies.
        identity: of a client, by its last credential, or None.
        client: the name of a client; see `client_name`.

    Threads: any.
    """

    id: str
    request: Request
    address: str
    identity: Identity | None
    client: str

    def respond(self, call: IncomingCall, result: JSONValue, *, meta: JSONObject | None = None) -> None:
        """End a call; see `Session.respond`. Raises: SerializationError."""

    def fail(self, call: IncomingCall, error: PortalError, *, meta: JSONObject | None = None) -> None:
        """End a call with an error; see `Session.fail`."""

    def send_item(self, call: IncomingCall, data: JSONValue) -> None:
        """Send an item of a stream; see `Session.item`. Raises: SerializationError."""

    def has_room(self, call: IncomingCall) -> bool:
        """Return whether the other side accepts another item of a stream, and reads what it is sent."""

    def run_in_worker(self, kind: Hashable, keys: Keys, work: Work) -> None:
        """Have work done later; see `portal.serving.Run`. Raises: OverloadedError if there is no worker for it."""


class Peer(Caller, Protocol):
    """A client, as the reserved methods of its server use it.

    Attributes:
        subscriptions: of the connection.
        kept: the session in which the client may come back, or None.

    Threads: any.
    """

    subscriptions: Subscriptions
    kept: KeptSession | None

    def send_text(self, text: bytes) -> None:
        """Send a text that was made elsewhere, unless the connection is lost."""

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame."""

    def abandon(self) -> None:
        """Cancel the calls that run: their client does not come back."""

    def cancel_call(self, call_id: int) -> None:
        """Cancel a call that runs."""

    def renew(self, identity: Identity) -> None:
        """Take the identity of a new credential, and its expiry."""


class RunningCall:
    """The handle by which a connection controls a running call.

    Args:
        context: of the call.

    Attributes:
        stream: the stream that the call returned, or None.

    Threads: any.
    """

    __slots__ = ("context", "stream")

    def __init__(self, context: CallContext) -> None:
        self.context = context
        self.stream: StreamWork | None = None

    def cancel(self) -> None:
        """Cancel the call: the client no longer wants it, or is gone."""
        self.context.cancel()

    def go_on(self) -> None:
        """Go on with a stream that waits: the client accepts more."""
        stream = self.stream
        if stream is not None:
            stream.go_on()


class StreamWork:
    """Produces the items of a stream as fast as the client takes them. While it waits it holds no worker.

    Args:
        peer: the other side of the connection.
        call: the call.
        items: what the function yields.
        context: of the call; the stream ends when it is cancelled.
        fail: ends the call with an error.
        kind, keys: of the work; see `portal.serving.Run`.

    Threads: one at a time produces; any may call `go_on`.
    """

    __slots__ = ("_call", "_context", "_fail", "_items", "_keys", "_kind", "_lock", "_more", "_peer", "_waits")

    def __init__(
        self,
        peer: Caller,
        call: IncomingCall,
        items: Iterator[Any],
        context: CallContext,
        fail: Callable[[PortalError], object],
        *,
        kind: Hashable,
        keys: Keys,
    ) -> None:
        self._peer = peer
        self._call = call
        self._items = items
        self._context = context
        self._fail = fail
        self._kind = kind
        self._keys = keys
        self._lock = threading.Lock()  # guards the attributes below
        self._waits = False  # whether no thread produces
        self._more = False  # whether `go_on` was called while one did

    def __call__(self, held: HeldKeys | None) -> bool:
        """Produce items until the client accepts no more."""
        try:
            while self._has_room():
                item = next(self._items, _END)
                if item is _END:
                    self._peer.respond(self._call, None)
                    return False
                self._peer.send_item(self._call, item)
        except BaseException as error:  # likewise SystemExit: the client waits for an end
            if not isinstance(error, PortalError):
                _log.exception("sending a stream failed")
            run_all(partial(self._end, _as_portal_error(error)), attempts=2)
        return False

    def _has_room(self) -> bool:
        """Return whether to produce an item. If not, either the stream waits or it has ended."""
        while True:
            if self._context.cancelled or self._call.ended:
                self._end(CallCancelled("the caller cancelled the call"))
                return False
            with self._lock:
                self._more = False
            if self._peer.has_room(self._call):
                return True
            with self._lock:
                if not self._more:
                    self._waits = True
                    return False

    def _end(self, error: PortalError) -> None:
        run_all(lambda: close_and_log(self._items, "a stream"), lambda: self._fail(error))

    def go_on(self) -> None:
        """Have a worker produce more items, or end the stream if it was cancelled. This does not wait."""
        with self._lock:
            self._more = True
            if not self._waits:
                return
            self._waits = False
        try:
            self._peer.run_in_worker(self._kind, self._keys, self)
        except BaseException as error:  # nobody else would go on with it
            run_all(partial(self._end_apart, _as_portal_error(error)), attempts=2)

    def reject(self, error: OverloadedError) -> None:
        """End the stream, as no worker is free to go on with it."""
        self._end_apart(error)

    def _end_apart(self, error: PortalError) -> None:
        run_apart("portal-stream-end", self._end, error)  # closing it runs code of the function


def _as_portal_error(error: BaseException) -> PortalError:
    return error if isinstance(error, PortalError) else PortalError("internal error", cause=error)
