"""TLSHandshakes: TLS handshakes, made by workers so that the reactor does not compute them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from ..errors import OverloadedError, ProtocolError
from .connection import Connection
from .connection_table import ConnectionTable

__all__ = ["TLSHandshakes"]

_log = logging.getLogger("portal.serving")


class TLSHandshakes:
    """Continues the TLS handshakes of connections.

    Args:
        table: parks a connection after each step of its handshake.
        submit: runs a callable in a worker. With True as its second argument it raises OverloadedError if requests
            wait for a worker.

    Threads: only the thread that leads the reactor's loop calls `advance`.
    """

    def __init__(self, table: ConnectionTable, submit: Callable[[Callable[[], object], bool], object]) -> None:
        self._table = table
        self._submit = submit

    def advance(self, connection: Connection) -> None:
        """Continue the handshake of a connection that is not parked."""
        self._table.release_to_worker(connection)
        step = partial(self._step, connection)
        try:
            self._submit(step, True)
        except OverloadedError:
            step()  # about a millisecond; a handshake must not take a place in the queue from a request

    def _step(self, connection: Connection) -> None:
        try:
            connection.do_handshake()
        except (OSError, ValueError) as error:
            _log.info("TLS handshake failed: peer %s: %s", connection.peer, error)
            self._reject(connection, plain_http=getattr(error, "reason", None) == "HTTP_REQUEST")
        else:
            self._table.park(connection)

    def _reject(self, connection: Connection, *, plain_http: bool) -> None:
        """Close without a reset, which could overtake the alert or the response that says why."""
        try:
            connection.downgrade_to_plaintext()
            if plain_http:
                connection.reject(ProtocolError("this port needs https, and the request is plain http", status=400))
            connection.shut_writing()
        except OSError:
            self._table.close(connection)
        else:
            self._table.park(connection)
