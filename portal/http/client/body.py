"""Read the body of a response: decompressed, within the deadline, with portal errors."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

from ...calls.deadlines import StreamProgress
from ...errors import PortalError, ProtocolError
from ...network.error_mapping import as_portal_error, located_protocol_error
from ..messages.content_coding import MAX_RATIO, decompressed
from .request import ClientRequest, ClientResponse

__all__ = ["iter_body", "read_body"]


def read_body(response: ClientResponse, request: ClientRequest, max_size: int, max_ratio: int = MAX_RATIO) -> bytes:
    """Return the whole body of a response.

    Raises: ProtocolError for a body of more than `max_size` bytes, or that was compressed more than `max_ratio` times;
        as `iter_body`.
    """
    body = response.read_buffered()
    if body is not None and "content-encoding" not in response.headers:
        if len(body) > max_size:
            raise _too_long(request, max_size)
        return body
    pieces: list[bytes] = []
    size = 0
    for piece in iter_body(response, request, body, max_ratio):
        size += len(piece)
        if size > max_size:
            raise _too_long(request, max_size)
        pieces.append(piece)
    return b"".join(pieces)


def _too_long(request: ClientRequest, max_size: int) -> ProtocolError:
    address = request.address
    return ProtocolError(f"the response from {address} must have at most {max_size} bytes", address=address)


def iter_body(
    response: ClientResponse,
    request: ClientRequest,
    buffered: bytes | None = None,
    max_ratio: int | None = None,
    stream: StreamProgress | None = None,
) -> Iterator[bytes]:
    """Yield the body of a response as it arrives. The caller must limit its size.

    Args:
        buffered: the result of `response.read_buffered()`, if that was called.
        max_ratio: see `decompressed`.
        stream: the stream whose items these are, for the message of a CallTimeout.

    Raises: portal errors only; CallTimeout after the deadline of the call.
    """
    deadline = request.context.deadline
    coding = response.headers.get("content-encoding")
    pieces = response.iter_body() if buffered is None else iter((buffered,))
    try:
        for piece in pieces if coding is None else decompressed(pieces, coding, max_ratio):
            yield piece
            if deadline is not None and monotonic() > deadline:
                raise TimeoutError("the deadline has passed")
    except ProtocolError as error:
        raise located_protocol_error(error, request.address) from error
    except OSError as error:
        if isinstance(error, PortalError):
            raise
        raise as_portal_error(error, request.address, request.context, stream=stream) from error
    finally:
        response.close()
