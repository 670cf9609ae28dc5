"""The outcome of a call from its response: the JSON result, or the portal error that the server raised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..._internal.json_text import JSONValue, count_containers, decode_finite_json
from ...address import Address
from ...errors import PortalError, ProtocolError, SerializationError
from ...network.problem import error_of
from ..messages.content_coding import MAX_RATIO
from ..messages.event_stream import JSON
from .body import read_body
from .request import ClientRequest, ClientResponse

__all__ = [
    "ReceivedResponse",
    "check_containers",
    "decode_result",
    "error_from",
    "locate_error",
    "read_error",
    "read_response",
    "require_success",
    "require_type",
]


class ReceivedResponse(NamedTuple):
    """A response that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read_response(
    response: ClientResponse, request: ClientRequest, max_size: int, max_ratio: int = MAX_RATIO
) -> ReceivedResponse:
    """Read a response to its end. Raises as `read_body`."""
    return ReceivedResponse(response.status, response.headers, read_body(response, request, max_size, max_ratio))


def read_error(response: ClientResponse, request: ClientRequest, max_size: int) -> PortalError:
    """Read a response with an error status to its end and return its error. Raises as `read_body`."""
    return error_from(read_response(response, request, max_size), request.address)


def error_from(received: ReceivedResponse, address: Address) -> PortalError:
    """Return the error of a response with an error status, in the class that the server raised."""
    status, headers, body = received
    return locate_error(error_of(status, headers.get("content-type", ""), body, headers), address)


def locate_error(error: PortalError, address: Address) -> PortalError:
    """Note the address that was called in an error, and return it."""
    error.address, error.scheme = str(address), address.scheme
    return error


def require_success(received: ReceivedResponse, address: Address) -> ReceivedResponse:
    """Return a response with the status 200 or 304.

    Raises: the server's error for an error status; ProtocolError for a redirect.
    """
    status = received.status
    if status in (200, 304):
        return received
    if 300 <= status < 400:
        raise _redirect(status, address)
    raise error_from(received, address)


def check_containers(data: bytes, limit: int, address: Address) -> None:
    """Reject JSON text with more objects and arrays than `limit`, before any is made. Raises: ProtocolError."""
    found = count_containers(data, limit)
    if found > limit:
        message = f"the response from {address} must have at most {limit:,} objects and arrays, got {found:,}"
        raise ProtocolError(message, address=address, hint="pass a larger HTTPClient(max_containers=...)")


def decode_result(received: ReceivedResponse, address: Address) -> JSONValue:
    """Return the JSON result in a response that `require_success` let pass.

    Raises: ProtocolError for a 304, which has no result, and for a body that is not JSON. It names another media type.
    """
    if received.status != 200:
        raise _redirect(received.status, address)
    try:
        result: JSONValue = decode_finite_json(received.body)
    except SerializationError as error:
        require_type(received.headers, JSON, address)
        raise ProtocolError(f"the response from {address} must be JSON: {error}") from None
    return result


def require_type(headers: Mapping[str, str], expected: str, address: Address) -> None:
    """Reject a response of another media type, such as a page of a proxy. Raises: ProtocolError that names both."""
    media = headers.get("content-type", expected).partition(";")[0].strip(" \t").lower()
    if media != expected and not (expected == JSON and media.endswith("json")):
        message = f"the response from {address} must be {expected}, got {media[:80]!r}"
        raise ProtocolError(message, address=address, hint="is the address one of a portal?")


def _redirect(status: int, address: Address) -> ProtocolError:
    return ProtocolError(f"{address} responded with {status}; redirects are not followed", address=address)
