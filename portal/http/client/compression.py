"""CompressingTransport: parameters sent in gzip, to servers that accept it."""

from __future__ import annotations

from ..._internal.at_fork import new_lock
from ..messages.content_coding import compress, exceeds_ratio
from .request import ClientRequest, ClientResponse, SendsRequests

__all__ = ["CompressingTransport"]

_MAX_AUTHORITIES = 1024


class CompressingTransport:
    """Compress the bodies of requests from a size on. A server that rejects them gets uncompressed bodies.

    Args:
        transport: sends the requests.
        min_size: bytes from which a body is compressed.

    Threads: any.
    """

    def __init__(self, transport: SendsRequests, min_size: int) -> None:
        self._transport = transport
        self._min_size = min_size
        self._lock = new_lock()  # guards adding to the set below and clearing it
        self._uncompressed: set[str] = set()  # authorities of servers that do not accept gzip

    def send(self, request: ClientRequest) -> ClientResponse:
        """Send a request, compressed where that is wanted and possible. Raises portal errors only."""
        authority = request.address.authority
        is_small = not isinstance(request.body, bytes) or len(request.body) < self._min_size
        if is_small or authority in self._uncompressed:
            return self._transport.send(request)
        assert isinstance(request.body, bytes)
        body = compress(request.body)
        if exceeds_ratio(len(request.body), len(body)):  # the server would reject it
            return self._transport.send(request)
        compressed = request.with_headers({"Content-Encoding": "gzip"})._replace(body=body)
        response = self._transport.send(compressed)
        # Only with that header (RFC 9110 section 12.5.3) the 415 is about gzip; without it the function may send it.
        if response.status != 415 or "accept-encoding" not in response.headers:
            return response
        response.close()
        with self._lock:
            if len(self._uncompressed) >= _MAX_AUTHORITIES:
                self._uncompressed.clear()
            self._uncompressed.add(authority)
        return self._transport.send(request)
