"""Errors as problem documents, and problem documents as errors (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._internal.json_text import decode_json
from ...errors import (
    AuthenticationError,
    AuthorizationError,
    CallTimeout,
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
from ...http11.dates import parse_retry_after

__all__ = ["PROBLEM", "error_of", "problem_of"]

PROBLEM = "application/problem+json"


def problem_of(error: PortalError, *, debug: bool) -> dict[str, Any]:
    """The problem document of an error (RFC 9457).

    What a function's own exception says goes out only with debug=True; its log has all of it under the request id.
    """
    data = error.to_dict(debug=debug)
    masked = error.public_message if isinstance(error, FunctionError) and error.private and not debug else None
    problem: dict[str, Any] = {
        "type": f"urn:portal:error:{error.code}",
        "title": type(error).__name__,
        "status": error.status,
        "detail": error.message if masked is None else masked,
        "code": error.code,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }
    if error.executed:
        problem["executed"] = True
    if masked is not None:
        return problem
    members = {name: data[name] for name in error.members}
    if "type" in members:
        members["exception"] = members.pop("type")  # `type` is RFC 9457's own member
    problem |= {name: value for name, value in members.items() if value not in (None, "", [])}
    if debug:
        problem["stack"] = data["stack"]
    return problem


def error_of(status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> PortalError:
    """The error that an answer of `status` stands for, as the class that was raised there.

    An answer that is no problem document of ours (a proxy's page, say) is mapped by its status.
    """
    if content_type.partition(";")[0].strip() == PROBLEM:
        try:
            data = decode_json(body)
        except SerializationError:
            data = None
        if isinstance(data, dict) and isinstance(data.get("code"), str):
            return _error_of_problem(data, status, parse_retry_after(headers.get("retry-after")))
    return _error_of_status(status, parse_retry_after(headers.get("retry-after")))


def _error_of_problem(data: dict[str, Any], status: int, retry_after: float | None) -> PortalError:
    context = {"request_id": data["request_id"]} if data.get("request_id") else {}
    known = dict(data) | {"message": data.get("detail", ""), "status": status, "context": context}
    known["type"] = data.get("exception", "")
    error = PortalError.from_dict(known)
    if getattr(error, "retry_after", 0.0) is None:
        vars(error)["retry_after"] = retry_after  # the header says it, where a listener refused before any app
    return error


def _error_of_status(status: int, retry_after: float | None) -> PortalError:
    text = f"the server answered {status}"
    if status == 401:
        return AuthenticationError(text)
    if status == 403:
        return AuthorizationError(text)
    if status in (404, 410):
        return RegistryError(f"{text}: no function is there")
    if status == 422:
        return ValidationError(f"{text}: it refused the parameters")
    if status == 429:
        return RateLimitError(text, retry_after=retry_after)
    if status == 503:
        # No portal says so without a problem document: a proxy may have passed the call on before it gave up.
        error = OverloadedError(text, retry_after=retry_after)
        vars(error)["may_have_executed"] = True
        return error
    if status in (408, 504):
        return CallTimeout(text)
    if status >= 500:
        return TransportError(text, may_have_executed=True)
    return ProtocolError(text, status=status if status >= 400 else 502)
