"""Calls: runs the calls of clients, as HTTP does: the same dispatcher, middleware, limits, deadlines and errors."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from ..._internal.job_queue import Keys
from ..._internal.json_text import JSONObject
from ..._internal.log import get_logger
from ...calls.client import client_name
from ...calls.deadlines import limit_deadline
from ...calls.dispatcher import Dispatcher
from ...calls.middleware import Call
from ...catalogue import Catalogue, Entry
from ...context import CallContext
from ...errors import CallTimeout, OverloadedError, PortalError, RegistryError
from ...function.failure import limit_exposure
from ...jsonrpc.methods import find_method, look_up_method, params_by_name
from ...network.charges import RequestCharges
from ...network.failure_log import log_failure
from ...schema.jsondata import shorten
from ...serving import Work
from ...serving.messages.held_keys import HeldKeys
from ..events import IncomingCall
from ..meta import context_of
from .authentication import Authentication
from .running import Caller, RunningCall, StreamWork

__all__ = ["Calls", "Prepared", "ReservedMethod"]

_log = get_logger("portal.websocket")
# Reserved methods that count for limits by themselves, or not at all, as the GET of a schema over HTTP.
_UNCHARGED = frozenset({"rpc.authenticate", "rpc.describe", "rpc.publish", "rpc.resume", "rpc.unsubscribe"})

#: A method whose name begins with "rpc.": it responds to the call of a `Peer`. It raises portal errors.
ReservedMethod = Callable[[Any, IncomingCall, CallContext], None]


class Prepared(NamedTuple):
    """A call that was received, for `portal.serving.Run`.

    Attributes:
        kind: calls of one kind take about the same time.
        keys: the function and the client.
    """

    kind: Hashable
    keys: Keys
    work: Work


class Calls:
    """Runs the calls of the clients of a portal.

    Args:
        catalogue: what is published.
        dispatcher: runs the calls.
        authentication: finds the identity of each call.
        charges: counts what runs no function.
        reserved: methods by name.
        base: of the portal, for the keys of functions.

    Threads: any.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        dispatcher: Dispatcher,
        authentication: Authentication,
        charges: RequestCharges,
        reserved: dict[str, ReservedMethod],
        *,
        base: str,
    ) -> None:
        self._catalogue = catalogue
        self._dispatcher = dispatcher
        self._authentication = authentication
        self._charges = charges
        self._reserved = reserved
        self._base = base

    def prepare(self, peer: Caller, call: IncomingCall) -> Prepared:
        """Return the work of a call. It is quick, so the thread that reads calls it."""
        client = ("client", peer.client)
        method = call.method
        entry = self._look_up(method)
        if entry is None:
            kind = method if method in self._reserved else "unknown"
            return Prepared(kind, (client,), _CallWork(self, peer, call, None, (client,)))
        keys = (("function", f"{self._base}/{'/'.join(entry.path)}"), client)
        return Prepared(entry.path, keys, _CallWork(self, peer, call, entry, keys))

    def _look_up(self, method: str) -> Entry | None:
        """Return the entry of a method name; None for one that `find_method` rejects."""
        try:
            return look_up_method(self._catalogue, method)
        except RegistryError:
            return None

    def run(self, peer: Caller, call: IncomingCall, entry: Entry | None, keys: Keys, held: HeldKeys | None) -> bool:
        """Run one call and respond to it. Return whether its time tells how long the next one takes."""
        context: CallContext | None = None
        reply: dict[str, str] = {}
        try:
            context = context_of(call.meta, call.arrived)
            call.tag = running = RunningCall(context)
            if call.cancelled:
                context.cancel()
            if self._authentication.required and (call.method != "rpc.authenticate" or entry is not None):
                self._identify(peer, call, context, held)
            if entry is None:
                self._run_without_entry(peer, call, context, reply)
            else:
                self._dispatch(peer, call, entry, keys, running, held, reply)
            return True
        except PortalError as error:
            fail(peer, call, error, context, reply)
        except Exception as error:
            _log.exception("handling %s failed", shorten(call.method))
            fail(peer, call, PortalError("internal error", cause=error), context, reply)
        return False

    def _identify(self, peer: Caller, call: IncomingCall, context: CallContext, held: HeldKeys | None) -> None:
        known = peer.identity
        identity = self._authentication.of_message(peer.request, known, call.meta)
        context.identity = identity
        if held is not None and identity is not None and identity is not known:
            held.hold(("client", client_name(identity, peer.address)))

    def _run_without_entry(self, peer: Caller, call: IncomingCall, context: CallContext, reply: dict[str, str]) -> None:
        reserved = self._reserved.get(call.method)
        if reserved is None or call.method not in _UNCHARGED:
            self._charges.charge(peer.address, context, reply)
        if reserved is None:
            find_method(self._catalogue, call.method)  # raises an error that names similar functions
            raise RegistryError(f"there is no function {shorten(call.method)} any more", name=shorten(call.method))
        reserved(peer, call, context)

    def _dispatch(
        self,
        peer: Caller,
        call: IncomingCall,
        entry: Entry,
        keys: Keys,
        running: RunningCall,
        held: HeldKeys | None,
        reply: dict[str, str],
    ) -> None:
        function, context = entry.function, running.context
        params = params_by_name(function, call.params)
        schema = function.schema
        if schema.timeout is not None:
            limit_deadline(context, call.arrived + schema.timeout)
        made = Call(function, params, context, streaming=schema.streaming, peer=peer.address, group=entry.group)

        def fail_late(error: CallTimeout) -> None:
            error.with_context(operation=function.name)
            fail(peer, call, error, context, made.replied)

        try:
            result = self._dispatcher.dispatch(made, fail_late if context.deadline is not None else None)
        finally:
            if made.replied:
                reply.update(made.replied)
        if not schema.streaming:
            peer.respond(call, result, meta=_meta_of(reply))
            return
        stream = running.stream = StreamWork(
            peer,
            call,
            result,
            context,
            lambda error: fail(peer, call, error, context, reply),
            kind=("stream", entry.path),
            keys=keys,
        )
        context.on_cancel(stream.go_on)
        stream(held)


class _CallWork:
    """The work of one call."""

    __slots__ = ("_call", "_calls", "_entry", "_keys", "_peer")

    def __init__(self, calls: Calls, peer: Caller, call: IncomingCall, entry: Entry | None, keys: Keys) -> None:
        self._calls = calls
        self._peer = peer
        self._call = call
        self._entry = entry
        self._keys = keys

    def __call__(self, held: HeldKeys | None) -> bool:
        try:
            return self._calls.run(self._peer, self._call, self._entry, self._keys, held)
        except BaseException as error:  # without a response the client would wait until its deadline
            _log.exception("handling %s failed", shorten(self._call.method))
            self._peer.fail(self._call, PortalError("internal error", cause=error))
            return False

    @property
    def deadline(self) -> float | None:
        """The deadline that the client has set, or None."""
        timeout = None if self._call.meta is None else self._call.meta.get("timeout")
        return self._call.arrived + timeout / 1000 if type(timeout) is int else None

    def reject(self, error: OverloadedError) -> None:
        """Respond that no worker was free."""
        self._peer.fail(self._call, error)


def fail(peer: Caller, call: IncomingCall, error: PortalError, context: CallContext | None, reply: Any = None) -> None:
    """Respond with an error, and log it if the client does not get its details."""
    limit_exposure(error)
    if context is not None:
        error.with_context(request_id=context.request_id)
    log_failure(_log, error, "-" if context is None else context.request_id)
    peer.fail(call, error, meta=_meta_of(reply))


def _meta_of(reply: Any) -> JSONObject | None:
    """Return the `meta` of a response: the texts that HTTP sends as headers, such as those of a limit."""
    return {"headers": dict(reply)} if reply else None
