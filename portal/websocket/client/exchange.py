"""Exchange: one call from the caller's side, from before it is sent until it has its end.

A caller waits on a lock of its own. An exchange outlives connections: a session may bring its response on a later one,
and an idempotent call may be sent once more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..._internal.conditions import Condition
from ..._internal.json_text import JSONObject, JSONValue
from ...address import Address
from ...calls.deadlines import StreamProgress, timeout_error, uncalled_error
from ...context import CallContext
from ...errors import CallTimeout, PortalError
from ..events import OutgoingCall
from ..meta import encoded_meta, meta_of
from .failures import lost_error

__all__ = ["Control", "Exchange", "Sendable", "StreamExchange", "expiry", "relative_name"]

_MAX_SENDS = 2


class Sendable:
    """A call as a link sends it.

    Attributes:
        method: name of the method, or None for the function at `address`.
        params: of the request.
        address: what is called; its name is relative to the base of the portal, which is known after the handshake.
        call: the call of the session, once it was sent.
        text: the request, once it was sent.
        sends: how often it was sent.
        sent_at: the moment at which it was sent last.
        resumable: whether its response may come on a later connection of the same session.
        credit: of a stream, the items that the server may send at first; None for another call.
        idempotent: whether it may be executed twice.
        fails_fast: whether it fails where it would wait for a connection; see `CallContext.fail_fast`.
    """

    __slots__ = ("address", "call", "method", "params", "sends", "sent_at", "text")

    resumable = False
    credit: int | None = None
    idempotent = False
    fails_fast = False

    def __init__(
        self, method: str | None, params: Mapping[str, JSONValue] | None, address: Address | None = None
    ) -> None:
        self.method = method
        self.params = params
        self.address = address
        self.call: OutgoingCall | None = None
        self.text = b""
        self.sends = 0
        self.sent_at = 0.0

    def request(self, base: int) -> tuple[str, Mapping[str, JSONValue] | None]:
        """Return method and parameters.

        Args:
            base: number of segments of the path of the portal.
        """
        if self.method is None:
            assert self.address is not None
            return relative_name(self.address, base), self.params
        return self.method, self.params

    def meta(self, now: float) -> JSONObject | None:
        """Return the `meta` member of the request. Raises: ProtocolError."""
        return None

    def encoded_meta(self, now: float, pending: int) -> bytes | None:
        """Return the `meta` member as JSON text if it is a usual one; see `portal.websocket.meta.encoded_meta`."""
        return None

    def may_be_sent_again(self) -> bool:
        """Return whether it may be sent once more although it may have been executed."""
        return False

    def lost(self, address: Address, reason: str) -> None:
        """End the call with an error, as its response cannot come any more."""
        self.finish(None, lost_error(address, reason))

    def finish(self, result: JSONValue, error: PortalError | None) -> None:
        """Take the end of the call. The lock of the link is held, so this must not block."""
        raise NotImplementedError


class Control(Sendable):
    """A call of the link itself. Its callback runs with the lock of the link held.

    Args:
        named: the parameter that gets the name of the address relative to the base, or None.
    """

    __slots__ = ("_callback", "_named")

    def __init__(
        self,
        method: str,
        params: Mapping[str, JSONValue] | None,
        callback: Callable[[JSONValue, PortalError | None], object],
        *,
        address: Address | None = None,
        named: str | None = None,
    ) -> None:
        super().__init__(method, params, address)
        self._callback = callback
        self._named = named

    def request(self, base: int) -> tuple[str, Mapping[str, JSONValue] | None]:
        return _with_name(self, self._named, base)

    def finish(self, result: JSONValue, error: PortalError | None) -> None:
        self.call = None  # which refers to this object
        self._callback(result, error)


class Exchange(Sendable):
    """A call that one thread waits for.

    Args:
        address: of the function.
        context: of the call.
        idempotent: whether it may be executed twice.
        method: another method than that of the function, such as rpc.describe.
        named: the parameter of that method that gets the name of the address.

    Threads: one waits; the link finishes it.
    """

    __slots__ = ("_done", "_named", "context", "error", "fails_fast", "finished", "idempotent", "result")

    resumable = True

    def __init__(
        self,
        address: Address,
        params: Mapping[str, JSONValue] | None,
        context: CallContext,
        *,
        idempotent: bool = False,
        method: str | None = None,
        named: str | None = None,
    ) -> None:
        super().__init__(method, params, address)
        self._named = named
        self.context = context
        self.idempotent = idempotent or context.idempotency_key is not None
        self.fails_fast = context.fail_fast
        self.result: JSONValue = None
        self.error: PortalError | None = None
        self.finished = False
        self._done = threading.Lock()
        self._done.acquire()

    def request(self, base: int) -> tuple[str, Mapping[str, JSONValue] | None]:
        address = self.address
        if self.method is None and address is not None and address.version is None:
            return "/".join(address.segments[base:]), self.params
        return _with_name(self, self._named, base)

    def meta(self, now: float) -> JSONObject | None:
        return meta_of(self.context, now)

    def encoded_meta(self, now: float, pending: int) -> bytes | None:
        return encoded_meta(self.context, now, pending) if self.credit is None else None

    def may_be_sent_again(self) -> bool:
        return self.idempotent and self.sends < _MAX_SENDS

    def finish(self, result: JSONValue, error: PortalError | None) -> None:
        if not self.finished:
            self.result, self.error, self.finished = result, error, True
            self.call = None  # which refers to this object
            self._done.release()

    def take_error(self) -> PortalError:
        """Return the error to raise it. It is not kept, as the frames that raise it refer to this object."""
        error, self.error = self.error, None
        assert error is not None
        return error

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end. Return whether it has come."""
        return self._done.acquire(timeout=-1 if timeout is None else timeout)


class StreamExchange(Exchange):
    """A call whose items one thread takes as they arrive.

    The server sends as many items as this side has credit for. A slow reader gives no more, so the server waits.

    Attributes:
        progress: counts the items that have arrived.
    """

    __slots__ = ("_changed", "_items", "_taken", "progress")

    resumable = False
    credit = 64

    def __init__(self, address: Address, params: Mapping[str, JSONValue] | None, context: CallContext) -> None:
        super().__init__(address, params, context)
        self._changed = Condition()
        self._items: deque[Any] = deque()
        self._taken = 0
        self.progress = StreamProgress(context, str(address))

    def may_be_sent_again(self) -> bool:
        return False

    def lost(self, address: Address, reason: str) -> None:
        words = f"the stream ended after {self.progress.items} items; another connection does not resume it: {reason}"
        error = lost_error(address, words)
        error.hint = "iterate it again, from the start"
        self.finish(None, error)

    def add(self, item: JSONValue) -> None:
        """Take an item from the server."""
        with self._changed:
            self.progress.items += 1
            self._items.append(item)
            self._changed.notify()

    def finish(self, result: JSONValue, error: PortalError | None) -> None:
        with self._changed:
            super().finish(result, error)
            self._changed.notify()

    def wait(self, timeout: float | None) -> bool:
        """Wait for the next item or the end. Return whether either has come."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._items) or self.finished, timeout)

    def take(self) -> tuple[bool, JSONValue, int]:
        """Return whether there is an item, the item, and the credit to give for the items taken so far."""
        with self._changed:
            if not self._items:
                return False, None, 0
            item = self._items.popleft()
            self._taken += 1
            grant = 0
            if self._taken * 2 >= self.credit:
                grant, self._taken = self._taken, 0
            return True, item, grant


def expiry(exchange: Exchange, last_error: PortalError | None, address: Address) -> CallTimeout:
    """Return the error of a call at its deadline.

    Args:
        last_error: why there is no connection, or None.
    """
    if exchange.sends:
        if isinstance(exchange, StreamExchange):
            return exchange.progress.timeout_error()
        deadline = exchange.context.deadline  # the words are those of a server that responds at the deadline
        timeout = None if deadline is None else max(0.0, deadline - exchange.sent_at)
        return timeout_error(exchange.context, str(address), timeout)
    reason = "there was no connection" if last_error is None else last_error.message
    return uncalled_error(exchange.context, str(address), reason)


def relative_name(address: Address, base: int) -> str:
    """Return the name of what is at an address: the path below the portal's own, with the wanted version.

    Args:
        base: number of segments of the path of the portal.
    """
    name = "/".join(address.segments[base:])
    return f"{name}@{address.version}" if address.version is not None else name


def _with_name(call: Sendable, named: str | None, base: int) -> tuple[str, Mapping[str, JSONValue] | None]:
    method, params = Sendable.request(call, base)
    if named is None:
        return method, params
    assert call.address is not None
    return method, {named: relative_name(call.address, base), **(params or {})}
