"""Problem documents (RFC 9457) for requests that no app has seen."""

from __future__ import annotations

import json
from http import HTTPStatus

from ..context import new_request_id
from ..http11.response_head import encode_head

__all__ = ["error_answer", "problem"]


def error_answer(status: int, detail: str, *, now: float, retry_after: int | None = None) -> bytes:
    """A whole answer with a problem document, after which the connection is closed."""
    request_id = new_request_id()
    body = problem(status, detail, request_id)
    headers = [("Content-Type", "application/problem+json"), ("X-Request-ID", request_id)]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    return encode_head(status, headers, keep_alive=False, length=len(body), now=now) + body


def problem(status: int, detail: str, request_id: str) -> bytes:
    """The problem document (RFC 9457) for a request that no app has seen."""
    code = "overloaded" if status == 503 else "registry_error" if status == 404 else "protocol_error"
    members = {
        "type": f"urn:portal:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "retryable": status == 503,
    }
    return json.dumps(members).encode()
