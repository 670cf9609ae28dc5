"""AuthenticatingTransport: requests with the credential of the caller."""

from __future__ import annotations

from ...auth.credentials import Credential
from .request import ClientRequest, ClientResponse, SendsRequests
from .result import error_from, read_response

__all__ = ["AuthenticatingTransport"]


class AuthenticatingTransport:
    """Add a credential to each request. Send a request again if the server rejects a credential that can be renewed.

    Args:
        transport: sends the requests.
        credential: gives the headers for an address.
        max_size: bytes to read of the body of a 401 response.

    Threads: any.
    """

    def __init__(self, transport: SendsRequests, credential: Credential, max_size: int) -> None:
        self._transport = transport
        self._credential = credential
        self._max_size = max_size

    def send(self, request: ClientRequest) -> ClientResponse:
        """Send a request with the credential; once more with a new one if the first was rejected unexecuted.

        Raises: portal errors only; AuthenticationError if no new credential can be had.
        """
        credential, address, deadline = self._credential, request.address, request.context.deadline
        headers = credential.headers(address, deadline)
        response = self._transport.send(request.with_headers(headers))
        if response.status != 401:
            return response
        received = read_response(response, request, self._max_size)
        # A function may pass on a 401 of its own. It has run, and a new credential would run it again.
        if error_from(received, address).executed or not credential.rejected(address):
            raise error_from(received, address)
        renewed = credential.headers(address, deadline)
        if renewed == headers:
            raise error_from(received, address)
        return self._transport.send(request.with_headers(renewed))
