"""SessionTransport: requests through a session of the requests library, with its adapters, proxies, hooks and cookies.

Sessions bring what an organisation has for requests: authentication, certificates, proxies, logging. Portal's rules
stay: no redirect is followed, no call is sent twice that may have been executed, errors are portal errors, and the
caller gets CallTimeout at its deadline.
"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from ...._internal.at_fork import new_lock, renew_after_fork
from ...._internal.executor import WorkerPool
from ...._internal.settings import require
from ...._internal.shutdown import raise_if_shutting_down
from ....address import Address
from ....calls.deadlines import expired_error, uncalled_error
from ....errors import CallCancelled, OverloadedError, PortalError, TransportError
from ....network.error_mapping import Failure, as_portal_error, failure_of
from ..pool import ConnectionLimits
from ..request import ClientRequest
from .abandoned_exchanges import AbandonedExchanges
from .exchange import OneTimeBody, SessionExchange

if TYPE_CHECKING:
    import requests

__all__ = ["SessionTransport"]

_QUEUE = 1024
_EXPECTED = "a requests.Session, or a callable that makes one"


class SessionTransport:
    """Send requests through sessions.

    An exchange runs in a worker, so that its caller can stop waiting. An exchange whose caller has stopped waiting is
    abandoned; see `AbandonedExchanges`.

    Args:
        source: a session for all threads, which is not closed here; or a callable that makes one for each worker.
        limits: timeouts.
        max_exchanges: exchanges at a time, abandoned ones included. Further ones wait.

    Raises: ConfigError for another source.

    Threads: any. Fork: a child process starts workers and opens connections of its own.
    """

    def __init__(self, source: Any, limits: ConnectionLimits, max_exchanges: int) -> None:
        require(callable(source) or _is_session(source), "client.session", source, _EXPECTED)
        self._source = source
        self._makes_sessions = not _is_session(source)
        self._limits = limits
        self._max_exchanges = max_exchanges
        self._lock = new_lock()  # guards making the pool, and the set of sessions
        self.after_fork()
        self._is_inherited = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without workers and sessions; called by `__init__`, and in a child process after a fork."""
        self._pool: WorkerPool | None = None
        self._abandoned = AbandonedExchanges(self._max_exchanges)
        self._local = threading.local()  # the session of each worker, if sessions are made here
        self._made: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._is_inherited = True  # the connections of a given session belong to the parent process

    def send(self, request: ClientRequest) -> SessionExchange:
        """Send a request and return its response once the head has arrived.

        Raises: portal errors only. OverloadedError if too many exchanges are abandoned.
        """
        address, context = request.address, request.context
        if context.cancelled:
            raise CallCancelled("the caller cancelled the call", address=address)
        if context.expired:
            raise expired_error(context, str(address))
        self._abandoned.require_few(address)
        exchange = SessionExchange(request, self._abandoned)
        future = self._submit(exchange, request)
        try:
            exchange.wait_for_head()
        except BaseException as error:
            if future.cancel():  # no worker was free until now
                exchange.run(_not_sent)
                if isinstance(error, TimeoutError):
                    raise uncalled_error(context, str(address)) from None
            if not isinstance(error, Exception):
                raise
            if request.repeatable and failure_of(error) is Failure.STALE and not context.expired:
                first = _as_portal_error(error, request)
                return self._send_again(request, may_have_executed=first.may_have_executed)
            if isinstance(error, PortalError):
                raise
            raise _as_portal_error(error, request) from error
        return exchange

    def _send_again(self, request: ClientRequest, *, may_have_executed: bool) -> SessionExchange:
        try:
            return self.send(request._replace(repeatable=False))
        except TransportError as error:
            error.merge_previous_attempt(may_have_executed=may_have_executed)
            raise

    def _submit(self, exchange: SessionExchange, request: ClientRequest) -> Any:
        try:
            return self._workers().submit(exchange.run, partial(self._exchange, request))
        except (OverloadedError, RuntimeError) as error:
            raise_if_shutting_down(error)
            raise

    def _workers(self) -> WorkerPool:
        with self._lock:
            if self._pool is None:
                pool = self._pool = WorkerPool(self._max_exchanges, _QUEUE, name="portal-session")
                # The threads keep the pool alive, so they would outlive an owner that is not closed.
                weakref.finalize(self, pool.shutdown, wait=False).atexit = False
            return self._pool

    # the worker

    def _exchange(self, request: ClientRequest) -> requests.Response:
        """Send a request through the session of this worker. Raises what the session raises."""
        session = self._session()
        url = str(request.address).partition("#")[0]
        headers = request.all_headers()
        del headers["User-Agent"]  # that of the session
        deadline, connect, read = request.context.deadline, self._limits.connect_timeout, self._limits.read_timeout
        if deadline is not None:
            left = max(0.001, deadline - monotonic())
            connect, read = min(left, connect), left if read is None else min(left, read)
        data: Any = request.body
        if data is not None and not request.repeatable and _retries(session, url):
            data = OneTimeBody(data)
        # A session would replace the header by credentials of its own, or of ~/.netrc.
        auth = _keep_header if "authorization" in {name.lower() for name in request.headers} else None
        return session.request(
            request.method,
            url,
            data=data,
            headers=headers,
            auth=auth,
            timeout=(connect, read),
            allow_redirects=False,
            stream=True,
        )

    def _session(self) -> requests.Session:
        source = self._source
        if not self._makes_sessions:
            if self._is_inherited:
                self._is_inherited = False
                source.close()  # of this process: it opens new connections
            return source  # type: ignore[no-any-return]
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = source()
            require(_is_session(session), "client.session", session, _EXPECTED)
            self._local.session = session
            with self._lock:
                self._made.add(session)
        return session

    def identity(self, address: Address) -> tuple[object, ...]:
        """Return what decides as which client requests are sent: the session."""
        return ("session", id(self._source))

    def stats(self) -> dict[str, int]:
        """Return how many exchanges are abandoned now, and how many were."""
        return self._abandoned.stats()

    def close(self) -> None:
        """End the workers, and close the sessions that were made here. A later call starts anew."""
        with self._lock:
            pool, self._pool = self._pool, None
            made, self._made = list(self._made), weakref.WeakSet()
            self._local = threading.local()
        if pool is not None:
            pool.shutdown(wait=False)
        for session in made:
            session.close()


def _as_portal_error(error: Exception, request: ClientRequest) -> PortalError:
    failure = as_portal_error(error, request.address, request.context)
    if "ClientTLS" in failure.hint:
        failure.hint = "set `verify` or `cert` of the session; REQUESTS_CA_BUNDLE comes before `verify`"
    return failure


def _is_session(source: object) -> bool:
    import requests

    return isinstance(source, requests.Session)


def _retries(session: requests.Session, url: str) -> bool:
    """Return whether the adapter of an address may send a request again by itself."""
    retries = getattr(session.get_adapter(url), "max_retries", None)
    return bool(getattr(retries, "total", retries))


def _keep_header(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _not_sent() -> requests.Response:
    raise ConnectionAbortedError("the request was not sent")
