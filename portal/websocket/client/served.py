"""ServedFunctions: the functions that a client publishes to its servers, run by the same code as on a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any

from ..._internal.background import run_apart
from ..._internal.job_queue import Keys
from ..._internal.json_text import JSONObject, JSONValue
from ..._internal.log import get_logger
from ...catalogue import Catalogue
from ...errors import ConfigError, PortalError, RegistryError
from ...function import Function
from ..events import CallReceived, CancelReceived, CreditReceived, Event, IncomingCall
from ..protocol import Session
from .failures import report_failure

if TYPE_CHECKING:
    from ..server.calls import Calls

__all__ = ["LinkPeer", "ServedFunctions"]

_log = get_logger("portal.websocket")


class ServedFunctions:
    """The functions of one client.

    Args:
        functions: Functions, or plain callables with hints.
        threads: runs them.

    Raises: ConfigError for a stream, which a server does not take, and for what is not a function.

    Threads: any.
    """

    def __init__(self, functions: Iterable[Function | Callable[..., Any]], threads: Callable[[], Executor]) -> None:
        self._threads = threads
        self._catalogue = Catalogue()
        for one in functions:
            made = Function.of(one)
            if made.streaming:
                raise ConfigError.invalid("client.functions", made.name, "functions that are not streams")
            self._catalogue.add(made)
        self._calls: Calls | None = None  # made at the first call; a client that publishes nothing loads no server
        self._lock = threading.Lock()  # guards making it

    def __len__(self) -> int:
        return len(self._catalogue)

    def calls(self) -> Calls:
        """Return what runs the calls."""
        with self._lock:
            if self._calls is None:
                from ...calls.dispatcher import Dispatcher
                from ...network.charges import RequestCharges
                from ..server.authentication import Authentication
                from ..server.calls import Calls

                dispatcher = Dispatcher()
                charges = RequestCharges(dispatcher)
                self._calls = Calls(self._catalogue, dispatcher, Authentication(()), charges, {}, base="client")
            return self._calls

    def run(self, work: Callable[[], object], failed: Callable[[BaseException], object]) -> None:
        """Run work in a thread.

        Args:
            failed: gets what the work has raised, or why it was not begun, in any thread.

        Raises: OverloadedError.
        """
        self._threads().submit(work).add_done_callback(partial(report_failure, failed))


class LinkPeer:
    """The server of one link as the caller of functions; see `portal.websocket.server.running.Caller`.

    Args:
        functions: what may be called; None rejects every call.
        session: of the link.
        lock: of the link.
        send: sends a text; it is called with the lock held.
        soon: calls something later, in a thread that does not hold the lock.

    Threads: any. `handle` and `lost` are called with the lock held.
    """

    identity: Any = None
    request: Any = None  # there is no handshake to authenticate

    def __init__(
        self,
        functions: ServedFunctions | None,
        session: Session,
        lock: threading.Lock,
        send: Callable[[bytes], object],
        soon: Callable[[Callable[[], object]], object],
    ) -> None:
        self.id = self.address = ""
        self.client = "server"
        self._functions = functions
        self._session = session
        self._lock = lock
        self._send = send
        self._soon = soon

    def handle(self, event: Event) -> bool:
        """Handle an event of a call of the server. Return whether it was one."""
        if isinstance(event, CallReceived):
            self._begin(event.call)
        elif isinstance(event, CancelReceived):
            self._cancel(event.call)
        elif not isinstance(event, CreditReceived):
            return False
        return True

    def lost(self) -> None:
        """Cancel the calls of a connection that is lost. Their responses are not sent on another one."""
        for event in self._session.drop_running():
            if isinstance(event, CancelReceived):
                self._cancel(event.call)

    def _begin(self, call: IncomingCall) -> None:
        functions = self._functions
        if functions is None:
            message = f"this client publishes no function {call.method[:100]}"
            self._end(self._session.fail(call, RegistryError(message, name=call.method[:100])))
            return
        try:
            functions.run(partial(self._run, functions, call), partial(self._not_run, call))
        except Exception as error:  # without a response the server would wait until its deadline
            self._end(self._session.fail(call, _as_portal_error(error)))

    def _run(self, functions: ServedFunctions, call: IncomingCall) -> None:
        try:
            functions.calls().prepare(self, call).work(None)
        except BaseException as error:
            if not isinstance(error, PortalError):
                _log.exception("a call of the server failed: method=%s", call.method[:100])
            self.fail(call, _as_portal_error(error))

    def _not_run(self, call: IncomingCall, error: BaseException) -> None:
        self._soon(lambda: self.fail(call, _as_portal_error(error)))

    def _cancel(self, call: IncomingCall) -> None:
        tag = call.tag
        if tag is None or self._functions is None:
            return
        cancel = partial(run_apart, "portal-websocket-cancel", tag.cancel)
        try:
            # Not in this thread: `on_cancel` of the function may need the lock.
            self._functions.run(tag.cancel, lambda error: self._soon(cancel))
        except BaseException:  # the loss of a connection must not end half-way for it
            self._soon(cancel)

    def _end(self, text: bytes | None) -> None:
        if text is not None:
            self._send(text)

    # Caller

    def respond(self, call: IncomingCall, result: JSONValue, *, meta: JSONObject | None = None) -> None:
        """Send the result of a call. Raises: SerializationError."""
        with self._lock:
            self._end(self._session.respond(call, result, meta=meta))

    def fail(self, call: IncomingCall, error: PortalError, *, meta: JSONObject | None = None) -> None:
        """Send the error of a call."""
        with self._lock:
            self._end(self._session.fail(call, error, meta=meta))

    def send_item(self, call: IncomingCall, data: JSONValue) -> None:
        """Send an item of a stream. Raises: SerializationError."""
        with self._lock:
            self._end(self._session.item(call, data))

    def has_room(self, call: IncomingCall) -> bool:
        """Return whether the server accepts another item of a stream."""
        return call.credit != 0

    def run_in_worker(self, kind: Hashable, keys: Keys, work: Any) -> None:
        """Have work done by a thread. Raises: OverloadedError."""
        assert self._functions is not None
        self._functions.run(lambda: work(None), _log_failure)


def _log_failure(error: BaseException) -> None:
    _log.error("work for a call of the server failed", exc_info=error)


def _as_portal_error(error: BaseException) -> PortalError:
    return error if isinstance(error, PortalError) else PortalError("internal error", cause=error)
