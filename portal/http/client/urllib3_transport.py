"""Urllib3Transport: requests through proxies; urllib3 makes the connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..._internal.at_fork import new_lock, renew_after_fork
from ...network.dial import NotSent, ProxyRefused
from ...network.error_mapping import as_os_error, clear_locals
from ...network.problem import PROBLEM
from ...network.proxies import Proxy
from ...network.tls import ClientTLS
from .pool import ConnectionLimits
from .request import ClientRequest

if TYPE_CHECKING:
    import ssl

    import urllib3

__all__ = ["Urllib3Response", "Urllib3Transport"]

_READ_SIZE = 64 * 1024


class Urllib3Response:
    """A response of urllib3 as a ClientResponse. Threads: one at a time."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def read_buffered(self) -> bytes | None:
        """Return None: urllib3 does not tell what has arrived."""
        return None

    def iter_body(self) -> Iterator[bytes]:
        """Yield the body as it arrives. Raises OSError when it is incomplete."""
        from urllib3.exceptions import HTTPError

        from ..._internal.openssl import clear_error_queue

        try:
            clear_error_queue()
            while piece := self._response.read1(_READ_SIZE):
                yield piece
                clear_error_queue()  # the caller may have left errors of a TLS connection of its own
        except (HTTPError, OSError) as error:
            clear_locals(error)
            if as_os_error(error) is error:
                raise
            raise as_os_error(error) from error
        if self._response.length_remaining:
            raise ConnectionResetError("the connection closed before the end of the response")
        self._response.release_conn()

    def close(self) -> None:
        """Give up the rest of the response; after its end this does nothing."""
        self._response.close()


class Urllib3Transport:
    """Send requests with urllib3, which is imported on first use.

    Args:
        limits: timeouts, and how many idle connections to keep for each server.
        tls: trusted authorities and the client's certificate.

    Threads: any. Fork: a child process opens connections of its own.
    """

    def __init__(self, limits: ConnectionLimits, tls: ClientTLS) -> None:
        self._limits = limits
        self._tls = tls
        self._lock = new_lock()  # guards adding to the managers
        self._managers: dict[Proxy | None, urllib3.PoolManager] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Drop the connections, which the parent process uses; a child process calls this by itself."""
        self._managers = {}

    @property
    def identity(self) -> tuple[object, ...]:
        """The files that decide which servers are trusted, and who the client is."""
        return (self._tls.ca, self._tls.certificate)

    def exchange(self, request: ClientRequest, proxy: Proxy | None) -> Urllib3Response:
        """Send a request and read the head of its response.

        Raises: ProxyRefused; NotSent when no connection can be made; OSError as `HTTPConnection.exchange`.
        """
        import urllib3

        from ..._internal.openssl import clear_error_queue
        from .timed_pools import REQUEST_LIMITS

        deadline, headers = request.context.deadline, request.all_headers()
        if request.body is not None and not isinstance(request.body, bytes):
            headers["Content-Length"] = str(len(request.body))
        connect, read = self._limits.connect_timeout, self._limits.read_timeout
        left = None if deadline is None else max(0.001, deadline - monotonic())
        token = REQUEST_LIMITS.set((deadline, read))
        if left is not None:
            connect, read = min(left, connect), left if read is None else min(left, read)
        clear_error_queue()
        try:
            response = self._manager(proxy).request(
                request.method,
                str(request.address).partition("#")[0],
                body=request.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=connect, read=read, total=left),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            clear_locals(error)
            if deadline is not None and monotonic() >= deadline and isinstance(as_os_error(error), NotSent):
                raise TimeoutError("the deadline has passed") from None  # as on a plain connection
            if as_os_error(error) is error:
                raise
            raise as_os_error(error) from error
        finally:
            REQUEST_LIMITS.reset(token)
        return _require_forwarded(Urllib3Response(response), proxy)

    def _manager(self, proxy: Proxy | None) -> urllib3.PoolManager:
        with self._lock:
            manager = self._managers.get(proxy)
            if manager is None:
                manager = self._managers[proxy] = _manager_of(proxy, self._tls.context(), self._limits.max_idle)
            return manager

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            managers, self._managers = self._managers, {}
        for manager in managers.values():
            manager.clear()


def _require_forwarded(response: Urllib3Response, proxy: Proxy | None) -> Urllib3Response:
    """Return a response unless it is the proxy's own 407. A portal sends a 407 only as a problem document."""
    if response.status == 407 and proxy is not None and PROBLEM not in response.headers.get("content-type", ""):
        response.close()
        raise ProxyRefused("407 Proxy Authentication Required")
    return response


def _manager_of(proxy: Proxy | None, tls: ssl.SSLContext, max_idle: int) -> urllib3.PoolManager:
    """Return the connections to all servers, or to those behind one proxy; `tls` then is for the proxy too."""
    from .timed_pools import manager_of

    options: dict[str, Any] = {"maxsize": max_idle, "num_pools": 64, "retries": False, "ssl_context": tls}
    if proxy is None:
        return manager_of(None, **options)
    headers = {} if proxy.authorization is None else {"Proxy-Authorization": proxy.authorization}
    return manager_of(proxy.url, proxy_headers=headers, proxy_ssl_context=tls, **options)
