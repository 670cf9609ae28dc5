"""CallContext: what travels with one call, and how a nested call inherits it.

The context of the running call is in a contextvar. A function gets it with `CallContext.current()`, or by annotating a
parameter with CallContext. The context of a nested call is a child. It inherits request id, trace, identity and
baggage, has the earlier of the two deadlines, and is cancelled with its parent. Clocks are `time.monotonic` seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from types import MappingProxyType
from typing import Any

from ._internal.at_fork import new_lock
from ._internal.counter import number_source
from ._internal.log import get_logger
from ._internal.settings import number
from ._internal.trace_context import new_span_id, new_trace_id, next_traceparent, parse_traceparent
from ._internal.weak_bag import WeakBag
from .errors import CallCancelled, CallTimeout, ConfigError

__all__ = ["CallContext", "Identity", "enter", "leave", "new_context", "new_request_id", "parse_traceparent", "running"]

_log = get_logger("portal.calls")
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a caller, proved by a credential.

    Attributes:
        name: the subject, such as the name of a user or client.
        scopes: what the caller may do.
        claims: further facts from the credential.

    Raises: ConfigError for scopes in a single string.

    Threads: immutable; any thread may read it.
    """

    name: str
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        given: object = self.scopes
        if isinstance(given, str | bytes):  # "read" would be the scopes "r", "e", "a" and "d"
            expected = 'a collection of strings, such as ["read"] or "read write".split()'
            raise ConfigError.invalid("identity.scopes", given, expected)
        object.__setattr__(self, "scopes", frozenset(self.scopes))


# Seconds. X-Portal-Timeout cannot carry more, and system calls reject values that are many times larger.
_MAX_TIMEOUT = 100 * 86_400.0

_INFINITY = float("inf")


def _bounded(timeout: float) -> float:
    if timeout.__class__ is float and -_MAX_TIMEOUT < timeout < _MAX_TIMEOUT:
        return timeout
    if timeout not in (_INFINITY, -_INFINITY):  # these mean the longest timeout, and one that has already expired
        number("timeout", timeout, unit="seconds")
    return max(-_MAX_TIMEOUT, min(timeout, _MAX_TIMEOUT))


#: Makes an empty context without the cost of `__init__`: `new_context(CallContext)`.
new_context = object.__new__


class _RequestIds:
    """Ids that are unique across processes: a random prefix, made anew after a fork, and a counter."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.prefix = os.urandom(6).hex()
        self.next = number_source(1)


_ids = _RequestIds()
os.register_at_fork(after_in_child=_ids.renew)


def new_request_id() -> str:
    """Return a unique request id: 12 random hex digits of the process, and a counter.

    Threads: any.
    """
    return f"{_ids.prefix}-{_ids.next():x}"


class CallContext:
    """The data that travels with one call.

    Attributes:
        deadline: `time.monotonic()` moment by which the caller wants the result, or None.
        identity: the caller, proved by a credential, or None.
        traceparent: W3C traceparent of the call, or None. A nested call has the same trace id and its own parent id.
        tracestate: W3C tracestate, which belongs to the traceparent, or None.
        baggage: key-value pairs that nested calls inherit.
        metadata: key-value pairs of this call alone.
        idempotency_key: lets a server return its first response to a repeated call, or None; of this call alone.
        usage: what the call has used so far, by unit, such as {"fuel": 25_000}; nested calls included.
        parent: the context of the call that this one is nested in, or None.
        watched: whether another thread responds to the caller at the deadline, so that the function may run in the
            caller's own thread.
        abortable: whether a transport ends a request in progress when the call is cancelled, by closing its connection.
            Nested calls inherit it.
        fail_fast: whether the call fails where it would wait for a lost connection to come back, as another instance
            may take it; of this call alone.

    Threads: any thread may read it and cancel it.
    """

    # Defaults are attributes of the class, so that an empty context, the commonest kind, costs little to make.
    deadline: float | None = None
    identity: Identity | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    baggage: Mapping[str, str] = _EMPTY
    metadata: Mapping[str, Any] = _EMPTY
    idempotency_key: str | None = None
    usage: Mapping[str, int] = _EMPTY
    parent: CallContext | None = None
    watched = False
    abortable = False
    fail_fast = False
    _request_id: str | None = None
    _trace_id: str | None = None  # of the trace that nested calls start, as this call has none
    _cancelled = False
    _callbacks: list[Callable[[], object]] | None = None
    _listeners: WeakBag[CallContext] | None = None  # nested calls with callbacks; weak, since most end early

    def __init__(
        self,
        *,
        request_id: str | None = None,
        deadline: float | None = None,
        identity: Identity | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        baggage: Mapping[str, str] = _EMPTY,
        metadata: Mapping[str, Any] = _EMPTY,
        idempotency_key: str | None = None,
        parent: CallContext | None = None,
    ) -> None:
        if request_id is not None:
            self._request_id = request_id
        if deadline is not None:
            self.deadline = deadline
        if identity is not None:
            self.identity = identity
        if traceparent is not None:
            self.traceparent = traceparent
        if tracestate is not None:
            self.tracestate = tracestate
        if idempotency_key is not None:
            self.idempotency_key = idempotency_key
        if parent is not None:
            self.parent = parent
        if baggage:
            self.baggage = baggage
        if metadata:
            self.metadata = metadata

    def __repr__(self) -> str:
        left = self.remaining()
        return f"CallContext(request_id={self.request_id!r}, remaining={left if left is None else round(left, 3)})"

    @staticmethod
    def current() -> CallContext | None:
        """Return the context of the call that runs in this thread, or None outside of a call."""
        return _current.get()

    @property
    def request_id(self) -> str:
        """The id of this call in logs and errors; made on first use."""
        found = self._request_id
        if found is None:
            made = self.parent.request_id if self.parent is not None else new_request_id()
            with _lock:
                found = self._request_id
                if found is None:
                    found = self._request_id = made
        return found

    @request_id.setter
    def request_id(self, request_id: str) -> None:
        self._request_id = request_id

    def remaining(self) -> float | None:
        """Return the seconds left: 0.0 after the deadline, None without a deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - monotonic())

    def add_usage(self, unit: str, amount: int) -> None:
        """Add to what this call, and each call that it is nested in, has used.

        Args:
            unit: what was used, such as "fuel".
            amount: how much.

        Threads: any.
        """
        found: CallContext | None = self
        while found is not None:
            with _lock:
                found.usage = {**found.usage, unit: found.usage.get(unit, 0) + amount}
            found = found.parent

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and monotonic() >= self.deadline

    @property
    def cancelled(self) -> bool:
        """Whether this call, or a call that it is nested in, was cancelled."""
        return self._cancelled or (self.parent is not None and self.parent.cancelled)

    def cancel(self) -> None:
        """Cancel the call and its nested calls. A running function is not interrupted; it can read `cancelled`."""
        with _lock:
            if self._cancelled:
                return
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, None
            listeners, self._listeners = [] if self._listeners is None else self._listeners.items(), None
        for callback in callbacks or ():
            try:
                callback()
            except Exception:  # the other callbacks run all the same: one may wake a caller that waits
                _log.exception("a callback of on_cancel failed: request_id=%s", self.request_id)
        for nested in listeners:
            nested.cancel()

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Call `callback` once when this call, or one that it is nested in, is cancelled; at once if it already is.

        Args:
            callback: runs in the thread that cancels; it must not block. What it raises there is logged.
        """
        with _lock:
            if self.parent is None and self._callbacks is None and not self._cancelled:  # nearly always
                self._callbacks = [callback]
                return
            if not self.cancelled:
                self._callbacks = [*(self._callbacks or ()), callback]
                self._listen()
                return
        callback()

    def forget(self, callback: Callable[[], object]) -> None:
        """Drop a callback of `on_cancel` that is not needed any more, with all that it refers to."""
        with _lock:
            callbacks = self._callbacks
            if callbacks is None or (len(callbacks) == 1 and callbacks[0] is callback):  # nearly always
                self._callbacks = None
            else:
                self._callbacks = [one for one in callbacks if one is not callback]

    def _listen(self) -> None:
        nested, parent = self, self.parent
        while parent is not None:
            if parent._listeners is None:
                parent._listeners = WeakBag()
            parent._listeners.add(nested)
            nested, parent = parent, parent.parent

    def check(self) -> None:
        """Let a long function end early when its caller no longer waits.

        Raises: CallTimeout after its deadline; CallCancelled if the call was cancelled before.
        """
        if self.expired:  # first, as a call is cancelled at its deadline
            raise CallTimeout("the deadline of the call has passed", context={"request_id": self.request_id})
        if self.cancelled:
            raise CallCancelled("the caller cancelled the call", context={"request_id": self.request_id})

    def child(
        self, *, timeout: float | None = None, metadata: Mapping[str, Any] = _EMPTY, baggage: Mapping[str, str] = _EMPTY
    ) -> CallContext:
        """Return the context of a call nested in this one.

        Args:
            timeout: seconds for the nested call; the deadline of this call applies as well. More than a hundred days,
                infinity included, means a hundred days.
            metadata: for the nested call alone.
            baggage: added to the inherited baggage.

        Raises: ConfigError for a timeout that is not a number of seconds.
        """
        deadline = self.deadline
        if timeout is not None:
            requested = monotonic() + _bounded(timeout)
            deadline = requested if deadline is None or requested < deadline else deadline
        nested = new_context(CallContext)
        nested.parent = self
        nested.deadline = deadline
        if self.identity is not None:
            nested.identity = self.identity
        if self.traceparent is not None:
            nested.traceparent = next_traceparent(self.traceparent)
            if self.tracestate is not None and nested.traceparent is not None:
                nested.tracestate = self.tracestate
        if baggage or self.baggage:
            nested.baggage = {**self.baggage, **baggage}
        if metadata:
            nested.metadata = metadata
        if self.watched and deadline == self.deadline:
            nested.watched = True
        if self.abortable:
            nested.abortable = True
        return nested

    def start_trace(self) -> str | None:
        """Set and return a traceparent for a nested call without one; None if this call is not nested.

        All calls nested in one outermost call, at any depth, are in one trace.
        """
        outermost = self
        while outermost.parent is not None:
            outermost = outermost.parent
        if outermost is self:
            return None
        with _lock:
            if outermost._trace_id is None:
                outermost._trace_id = new_trace_id()
        self.traceparent = f"00-{outermost._trace_id}-{new_span_id()}-02"  # 02: the trace id is random
        self.tracestate = None
        return self.traceparent

    @staticmethod
    def for_call(timeout: float | None = None, context: CallContext | None = None) -> CallContext:
        """Return the context for a new call: nested in `context`, otherwise in the running call, otherwise a root.

        Args:
            timeout: seconds for the call; see `child`.
            context: the outer call, instead of the one that runs in this thread.

        Raises: ConfigError for a timeout that is not a number of seconds.
        """
        parent = context if context is not None else _current.get()
        if parent is not None:
            return parent.child(timeout=timeout)
        made = new_context(CallContext)
        if timeout is not None:
            made.deadline = monotonic() + _bounded(timeout)
        return made

    @contextmanager
    def active(self) -> Iterator[CallContext]:
        """Make this the current context of the thread during a `with` block."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)


_current: ContextVar[CallContext | None] = ContextVar("portal_call_context", default=None)
# The same as `CallContext.current` and `CallContext.active`, for the path of every call: `leave(enter(context))`.
running = _current.get
enter = _current.set
leave = _current.reset
_lock = new_lock()  # guards the callback lists and trace ids; held for an assignment or list operation only
