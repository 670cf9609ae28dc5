"""HTTPTransport: one request out, one response in, over the connection that leads there.

Direct connections are our own (`connection.py`, `tls_connection.py`); proxies use urllib3 (`urllib3_transport.py`).
Both give the same responses and the same errors. A TransportError's `may_have_executed` is False only if no byte of the
request can have reached the server.
"""

from __future__ import annotations

from time import monotonic

from ...address import Address
from ...calls.deadlines import expired_error
from ...errors import CallCancelled, PortalError, ProtocolError, TransportError
from ...network.dial import StaleConnection
from ...network.error_mapping import as_portal_error, located_protocol_error
from ...network.proxies import Proxies
from .abort import abortable_exchange
from .pool import ConnectionPools
from .request import ClientRequest, ClientResponse
from .urllib3_transport import Urllib3Transport

__all__ = ["HTTPTransport"]


class HTTPTransport:
    """Send requests and return their responses.

    A repeatable request is sent a second time if the server closed a kept connection without a byte of a response.

    Args:
        pools: connections for plain http.
        tls_pools: connections for https.
        urllib3: connections through proxies.
        proxies: which proxy leads to an address.

    Threads: any; connections are shared. Fork: a child process opens connections of its own.
    """

    def __init__(
        self, pools: ConnectionPools, tls_pools: ConnectionPools, urllib3: Urllib3Transport, proxies: Proxies
    ) -> None:
        self._pools = pools
        self._tls_pools = tls_pools
        self._urllib3 = urllib3
        self._proxies = proxies

    def send(self, request: ClientRequest) -> ClientResponse:
        """Send a request and return its response once the head has been read.

        Raises: portal errors only.
        """
        address, context = request.address, request.context
        deadline = context.deadline
        if context.cancelled:
            raise CallCancelled("the caller cancelled the call", address=address)
        if deadline is not None and monotonic() >= deadline:
            raise expired_error(context, str(address))
        proxy = self._proxies.find(address)
        try:
            if proxy is not None:
                return self._urllib3.exchange(request, proxy)
            data = request.encode()
            pools = self._tls_pools if address.scheme == "https" else self._pools
            connection = pools.acquire(address, deadline)
            if context.abortable:
                return abortable_exchange(connection, data, context, request.pieces())
            return connection.exchange(data, deadline, request.pieces())
        except OSError as error:
            if isinstance(error, PortalError):
                raise
            if request.repeatable and isinstance(error, StaleConnection) and not context.expired:
                first = as_portal_error(error, address, context, proxy)
                return self._send_again(request, may_have_executed=first.may_have_executed)
            raise as_portal_error(error, address, context, proxy) from error
        except ProtocolError as error:
            raise located_protocol_error(error, address) from error

    def _send_again(self, request: ClientRequest, *, may_have_executed: bool) -> ClientResponse:
        try:
            return self.send(request._replace(repeatable=False))
        except TransportError as error:
            error.merge_previous_attempt(may_have_executed=may_have_executed)
            raise

    def identity(self, address: Address) -> tuple[object, ...]:
        """Return what decides which server an address leads to here, and as which client: socket or TLS files.

        Two transports with different identities must not share cached responses.
        """
        if address.scheme == "https":
            return self._urllib3.identity
        return (self._pools.socket_path(address),)

    def close(self) -> None:
        """Close idle connections; connections in use close after their response."""
        self._pools.close()
        self._tls_pools.close()
        self._urllib3.close()
