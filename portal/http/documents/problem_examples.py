"""Examples of problem documents (RFC 9457), one for each status, for the OpenAPI document.

Each example is made from a real error by the code of the server, so the two cannot differ.
"""

from __future__ import annotations

from typing import Any

from ...errors import (
    AuthenticationError,
    AuthorizationError,
    CallTimeout,
    Fault,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    SerializationError,
    TransportError,
    ValidationError,
)
from ...network.problem import problem_of

__all__ = ["problem_example"]

_FAULT = Fault("/quantity", "must be at least 1, got 0", "minimum", 1, "0")
_ERRORS: dict[int, PortalError] = {
    400: SerializationError("the text must be JSON: Expecting value: line 1 column 1 (char 0)"),
    401: AuthenticationError("a credential is required and none was sent"),
    403: AuthorizationError("refund needs scope orders"),
    404: RegistryError("no function ad; did you mean add?", kind="not_found", name="ad"),
    406: ProtocolError(
        "a stream is sent as application/x-ndjson or text/event-stream; Accept must allow one of them", status=406
    ),
    408: ProtocolError("the request did not arrive in time", status=408),
    413: ProtocolError("the body must have at most 1048576 bytes (max_body)", status=413),
    415: ProtocolError(
        "the body must be application/json, got 'text/plain'; send JSON with the header Content-Type: application/json",
        status=415,
    ),
    422: ValidationError(errors=[_FAULT]),
    429: RateLimitError("more than 100 calls in 60 s", retry_after=12.0),
    500: FunctionError("price failed"),
    502: TransportError("the connection was refused"),
    503: OverloadedError("every worker is busy and the queue is full", retry_after=1.0),
    504: CallTimeout("the deadline of the call has passed"),
}


def problem_example(status: int) -> dict[str, Any]:
    """Return a problem document as JSON data. Raises: KeyError for a status that no call returns."""
    return problem_of(_ERRORS[status], debug=False) | {"request_id": "3f2a9c51d9c8-1"}
