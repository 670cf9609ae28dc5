"""Abort an exchange in progress when its call is cancelled, so that its thread and its server are free."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from ...context import CallContext
from ...errors import CallCancelled
from .connection import HTTPConnection
from .response import ConnectionResponse

__all__ = ["abortable_exchange"]


def abortable_exchange(
    connection: HTTPConnection, request: bytes, context: CallContext, pieces: Iterable[bytes] = ()
) -> ConnectionResponse:
    """Make an exchange as `HTTPConnection.exchange` does, and end it when the call is cancelled before the response.

    Raises: CallCancelled when the call was cancelled; what `exchange` raises.
    """
    abort = _Abort(connection)
    context.on_cancel(abort.fire)
    try:
        return connection.exchange(request, context.deadline, pieces)
    except OSError as error:
        if not context.cancelled:
            raise
        raise CallCancelled("the caller cancelled the call", cause=error) from error
    finally:
        abort.disarm()


class _Abort:
    """Ends the exchange of a connection, unless that has ended before: then another call may use the connection.

    Threads: any.
    """

    def __init__(self, connection: HTTPConnection) -> None:
        self._lock = threading.Lock()  # of `fire` and `disarm` one comes first; guards the connection
        self._connection: HTTPConnection | None = connection

    def fire(self) -> None:
        """End the exchange, if it has not ended."""
        with self._lock:
            if self._connection is not None:
                self._connection.abort()

    def disarm(self) -> None:
        """Do nothing from now on."""
        with self._lock:
            self._connection = None
