"""CallSession: the calls of one client in both directions, and the session in which their responses are kept."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic

from ..._internal.conditions import PoolFuture
from ..._internal.json_text import JSONObject, JSONValue
from ..._internal.log import get_logger
from ...errors import OverloadedError, PortalError, TransportError
from ..close_codes import CloseCode
from ..events import CallEnded, CallReceived, CancelReceived, Event, IncomingCall
from ..protocol import Params, Session
from .sessions import KeptSession

__all__ = ["CallSession", "cancel", "set_outcome"]

_log = get_logger("portal.websocket")


class CallSession(ABC):
    """The calls of one client; the base of ServerConnection.

    Args:
        session: the calls.

    Attributes:
        client: the name of the client; see `client_name`.
        kept: the session in which the client may come back, or None.

    Threads: any.
    """

    def __init__(self, session: Session) -> None:
        self.client = ""
        self.kept: KeptSession | None = None
        self._session = session
        self._lock = threading.Lock()  # guards the session, the transport and the attributes of a connection
        self._stopping = False
        self._sizes: dict[IncomingCall, int] = {}  # of the larger messages whose calls run
        self._counted = 0  # their sum

    @abstractmethod
    def _abort(self) -> None:
        """End the connection at once, without a close frame. The client may come back to its session."""

    # with the lock

    @abstractmethod
    def _send(self, text: bytes) -> None:
        """Send a text; the lock is held."""

    @abstractmethod
    def _flush(self) -> None:
        """Send what was added, and close a connection that is to be closed after its calls; the lock is held."""

    @abstractmethod
    def _set_deadline(self) -> None:
        """Have the listener report when something is due; the lock is held."""

    @property
    @abstractmethod
    def closing(self) -> bool:
        """Whether nothing more is sent to the client."""

    @abstractmethod
    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame."""

    @abstractmethod
    def _dispatch(self, events: list[Event]) -> None:
        """Handle events; the lock is not held."""

    # calls of the client

    def respond(self, call: IncomingCall, result: JSONValue, *, meta: JSONObject | None = None) -> None:
        """Send the result of a call. Raises: SerializationError; the call has not ended then."""
        with self._lock:
            text = self._session.respond(call, result, meta=meta)
            try:
                self._end(call, text)
            except BaseException:
                self._not_sent(call, text)
                raise

    def fail(self, call: IncomingCall, error: PortalError, *, meta: JSONObject | None = None) -> None:
        """Send the error of a call. If it has no response and is part of the protocol, a fault ends the connection.

        Otherwise the client would believe, for example, that a subscription has ended.
        """
        with self._lock:
            text = self._session.fail(call, error, meta=meta)
            try:
                self._end(call, text)
            except BaseException:
                self._not_sent(call, text)
                raise
        is_fault = type(error) is PortalError or isinstance(error, OverloadedError)
        if is_fault and call.notification and call.method.startswith("rpc.") and not self._stopping:
            self._abort()

    def fail_all(self, events: list[Event], error: BaseException) -> None:
        """Respond to calls that are not handled, and end or cancel others. For any other event the connection ends.

        Without a response the client would wait until its deadline, and without a credit a stream would wait for ever.
        """
        for event in events:
            try:
                if isinstance(event, CallReceived):
                    self.fail(event.call, PortalError("internal error", cause=error))
                elif isinstance(event, CallEnded):
                    set_outcome(event)  # a thread of the server waits for it
                elif isinstance(event, CancelReceived):
                    cancel(event)
                else:
                    self._abort()
            except BaseException:  # the connection has been aborted
                _log.exception("responding to a call failed: client=%s", self.client)

    def _end(self, call: IncomingCall, text: bytes | None) -> None:
        if self._sizes:
            self._counted -= self._sizes.pop(call, 0)
        if text is not None:
            try:
                self._send(text)
            finally:  # a client that comes back gets what could not be sent
                if self.kept is not None:
                    self.kept.ended(self, call, text)
        elif self._stopping:
            self._flush()

    def _not_sent(self, call: IncomingCall, text: bytes | None) -> None:
        """End the connection, as the client would wait for a response that is made only once."""
        self._abort()
        if text is not None and self.kept is not None:
            self.kept.ended(self, call, text)

    def _send_or_abort(self, text: bytes) -> None:
        """Send a text that is made only once. A fault ends the connection, so that the client waits no longer."""
        try:
            self._send(text)
        except BaseException:
            self._abort()
            raise

    def send_item(self, call: IncomingCall, data: JSONValue) -> None:
        """Send an item of a stream. Raises: SerializationError."""
        with self._lock:
            text = self._session.item(call, data)
            if text is not None:
                self._send(text)

    def send_text(self, text: bytes) -> None:
        """Send a text that was made elsewhere, unless the connection is lost."""
        with self._lock:
            self._send_or_abort(text)

    def cancel_call(self, call_id: int) -> None:
        """Cancel a call that runs, as the client wants on a later connection."""
        self._end_some(lambda: self._session.cancel_some(lambda call: call.id == call_id))

    def _end_own(self) -> None:
        """End the calls of the server, as the connection is lost; a session keeps those of the client."""
        self._end_some(lambda: self._session.fail_pending(_lost()))

    def _end_streams(self) -> None:
        """Cancel the streams, whose items cannot reach the client any more."""
        self._end_some(
            lambda: self._session.cancel_some(lambda call: call.tag is not None and call.tag.stream is not None)
        )

    def abandon(self) -> None:
        """Cancel the calls that run and end those of the server: the client is gone and does not come back."""
        self._end_some(lambda: self._session.close(_lost()))

    def _end_some(self, end: Callable[[], list[Event]]) -> None:
        """Handle the events of calls that `end` takes out of the session, whatever step raises."""
        events: list[Event] = []
        try:
            with self._lock:
                events = end()
            self._dispatch(events)
        except BaseException as error:  # the session has forgotten them, so nobody would end them later
            self.fail_all(events, error)
            raise

    # calls of the server

    def call(
        self, method: str, params: Params = None, *, timeout: float | None = None, meta: JSONObject | None = None
    ) -> Future[JSONValue]:
        """Call a function that the client publishes, and return the future of its result.

        Args:
            timeout: seconds after which the future has CallTimeout, within half a second.
        Raises: OverloadedError with too many pending calls; TransportError if the connection is closed;
            SerializationError.
        """
        future: Future[JSONValue] = PoolFuture()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self.closing:
                raise TransportError("the connection of the client is closed", delivery="not_sent")
            deadline = None if timeout is None else monotonic() + timeout
            call, text = self._session.call(method, params, tag=future, deadline=deadline, meta=meta)
            try:
                self._send(text)
                self._set_deadline()
            except BaseException:
                self._session.cancel(call)
                self._abort()  # it may have been sent, or in part
                raise
        return future


def _lost() -> TransportError:
    return TransportError("the connection of the client was lost")


def cancel(event: CancelReceived) -> None:
    """Cancel a call that runs, unless it has not begun."""
    if event.call.tag is not None:
        event.call.tag.cancel()


def set_outcome(event: CallEnded) -> None:
    """Give the outcome of a call of the server to its future."""
    future = event.call.tag
    if isinstance(future, Future) and not future.done():
        if event.error is None:
            future.set_result(event.result)
        else:
            future.set_exception(event.error)
