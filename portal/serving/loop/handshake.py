"""Work for workers before a request has arrived completely, which would delay the reactor.

TLSHandshakes makes TLS handshakes. HeadAuthentication authenticates the callers of requests whose body is arriving.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..._internal.job_queue import Keys
from ..._internal.log import get_logger
from ...errors import OverloadedError, ProtocolError
from ...http11.request_head import RequestHead
from ..connections.connection import Connection
from ..connections.exchange import Exchange
from ..connections.table import ConnectionTable
from ..messages.app import Authenticating
from ..messages.rejections import RejectionLog
from ..messages.request import Request, Response

__all__ = ["HeadAuthentication", "TLSHandshakes"]

_log = get_logger("portal.serving")
_BUSY = "every worker is busy"


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
        step = partial(self._step, connection)
        try:
            self._table.release_to_worker(connection)
            self._submit(step, True)
        except OverloadedError:
            step()  # about a millisecond; a handshake must not take a place in the queue from a request
        except BaseException:
            self._table.close(connection)
            raise

    def _step(self, connection: Connection) -> None:
        try:
            self._handshake(connection)
        except BaseException:  # nobody else has the connection
            _log.exception("a TLS handshake failed")
            self._table.close(connection)

    def _handshake(self, connection: Connection) -> None:
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


class HeadAuthentication:
    """Authenticates the callers of requests before their body is read, in a worker.

    Args:
        table: parks a connection after that.
        submit: runs a callable in a worker, counted for some keys, or raises OverloadedError.
        app_for: returns the app that serves a path, or None.
        rejections: counts requests that are rejected here.

    Threads: only the thread that leads the reactor's loop calls `begin`.
    """

    def __init__(
        self,
        table: ConnectionTable,
        submit: Callable[[Callable[[], object], bool, Keys], object],
        app_for: Callable[[str], object],
        rejections: RejectionLog,
    ) -> None:
        self._table = table
        self._submit = submit
        self._app_for = app_for
        self._rejections = rejections

    def begin(self, fd: int, connection: Connection) -> bool:
        """Have the credential of a request looked at, unless that was done. Nothing is read from it meanwhile.

        Returns: whether a worker has the connection now.
        """
        head = connection.begin_authentication()
        if head is None:
            return False
        app = self._app_for(head.path)
        when = app.authenticates_at(head) if isinstance(app, Authenticating) else "never"
        if when == "never":
            connection.admit(None)
        elif when == "head" and isinstance(app, Authenticating):
            del self._table.parked[fd]
            self._table.release_to_worker(connection)
            try:
                keys = _client_of(app, head, connection)
                self._submit(partial(self._authenticate, connection, head, app), False, keys)
            except OverloadedError:
                self._rejections.note(_BUSY)
                self._end(connection, lambda: connection.reject(ProtocolError(_BUSY, status=503)))
            except BaseException:
                self._table.close(connection)
                raise
            return True
        self._invite(fd, connection)
        return False

    def _invite(self, fd: int, connection: Connection) -> None:
        try:
            connection.invite_body()
        except OSError:
            self._table.drop(fd)

    def _authenticate(self, connection: Connection, head: RequestHead, app: Authenticating) -> None:
        try:
            found = app.authenticate_head(Request(head, b"", connection, connection.peer))
            if isinstance(found, Response):
                exchange = Exchange(connection, head, False, _never)
                self._end(connection, partial(exchange.send, found))
            else:
                connection.admit(found)
                connection.invite_body()
                self._table.park(connection)
        except OSError:
            self._table.close(connection)
        except BaseException:  # raised further it would end the worker, and nobody would close the connection
            _log.exception("authenticating a request failed")
            self._table.close(connection)

    def _end(self, connection: Connection, send: Callable[[], object]) -> None:
        try:
            send()
            connection.shut_writing()
        except BaseException as error:
            if not isinstance(error, OSError):
                _log.error("rejecting a request failed", exc_info=error)
            self._table.close(connection)
        else:
            self._table.park(connection)


def _client_of(app: object, head: RequestHead, connection: Connection) -> Keys:
    """Return the key of the client: an authenticator may take long, and must not take all workers for one client."""
    keys_of: Callable[..., Keys] = getattr(app, "keys", lambda *_: ())
    return tuple(key for key in keys_of(head, connection.peer, connection.identity) if key[0] == "client")


def _never(connection: Connection, keeps: bool) -> None:
    """Take the early response of an exchange that is not shared, so that there is none."""
