"""Convert errors to problem documents and back. A client maps a response without one by its status.

Source: RFC 9457.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from .._internal.json_encoder import encode_error_json, encode_json
from .._internal.json_text import JSONObject, decode_json
from .._internal.log import get_logger
from ..errors import (
    AuthenticationError,
    AuthorizationError,
    CallTimeout,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    SerializationError,
    TransportError,
    ValidationError,
)
from ..http11.dates import parse_retry_after
from ..http11.response_head import PROBLEM

__all__ = ["PROBLEM", "encode_problem", "error_of", "problem_of"]

_log = get_logger("portal.http")
_MAX_WORDS = 1000  # characters of the title or detail of another library


def problem_of(error: PortalError, *, debug: bool) -> JSONObject:
    """Return the problem document of an error.

    Args:
        debug: whether the client sees the stack, and the message of an exception that the function raised. The server's
            log has both under the request id.
    """
    error = error.sendable()
    problem: JSONObject = {
        "type": f"urn:portal:error:{error.code}",
        "title": type(error).__name__,
        "status": error.status,
        "detail": error.message_for_client(debug=debug),
        "code": error.code,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }
    if error.delivery is not None:
        problem["delivery"] = error.delivery
    problem |= error.details_for_client(debug=debug)
    if debug:
        problem["stack"] = error.stack_trace()
    return problem


def encode_problem(error: PortalError, *, debug: bool) -> bytes:
    """Return the problem document of an error as JSON text; that of an internal error if JSON cannot carry it."""
    try:
        return encode_error_json(problem_of(error, debug=debug))
    except SerializationError:
        _log.exception("an error cannot be sent as JSON: code=%s", error.code)
        plain = PortalError("internal error", context={"request_id": error.request_id})
        plain.status = error.status
        return encode_json(problem_of(plain, debug=debug))


def error_of(status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> PortalError:
    """Return the error for a response with an error status, in the class that the server raised.

    A response that is not a problem document, such as a page of a proxy, is mapped by its status. So is a document
    without `code`, which comes from another library. The message then has its title and detail.
    """
    retry_after, data = parse_retry_after(headers.get("retry-after")), None
    if content_type.partition(";")[0].strip().lower() == PROBLEM:
        with suppress(SerializationError):
            data = decode_json(body)
    if not isinstance(data, dict):
        return _error_of_status(status, retry_after)
    if isinstance(data.get("code"), str):
        return _error_of_problem(data, status, retry_after)
    words = [text[:_MAX_WORDS] for name in ("title", "detail") if isinstance(text := data.get(name), str) and text]
    return _error_of_status(status, retry_after, words)


def _error_of_problem(data: JSONObject, status: int, retry_after: float | None) -> PortalError:
    context = {"request_id": data["request_id"]} if data.get("request_id") else {}
    known = dict(data) | {"message": data.get("detail", ""), "status": status, "context": context}
    known["type"] = data.get("exception", "")
    if known.get("retry_after") is None:
        known["retry_after"] = retry_after  # a listener that rejects a request itself sends only the header
    return PortalError.from_dict(known)


def _error_of_status(status: int, retry_after: float | None, words: Iterable[str] = ()) -> PortalError:
    text = ": ".join([f"the server responded with status {status}", *words])
    if status == 401:
        return AuthenticationError(text)
    if status == 403:
        return AuthorizationError(text)
    if status in (404, 410):
        return RegistryError(f"{text}: no function is published at this address")
    if status == 422:
        return ValidationError(f"{text}: it rejected the parameters")
    if status == 429:
        return RateLimitError(text, retry_after=retry_after)
    if status == 503:
        # A portal sends 503 with a problem document. This is a proxy, which may have forwarded the call.
        return OverloadedError(text, retry_after=retry_after, delivery="unknown")
    if status in (408, 504):
        return CallTimeout(text)
    if status >= 500:
        return TransportError(text)
    return ProtocolError(text, status=status if status >= 400 else 502)
