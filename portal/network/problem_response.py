"""The response of a server for an error: a problem document, and the header Retry-After.

Source: RFC 9457.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import PortalError
from ..http11.dates import format_retry_after
from ..serving import Response
from .problem import PROBLEM, encode_problem

__all__ = ["problem_response"]


def problem_response(
    error: PortalError, request_id: str, headers: Iterable[tuple[str, str]] = (), *, debug: bool = False
) -> Response:
    """Return the response for an error, a problem document.

    Args:
        headers: further headers. Without a Retry-After among them, the error's `retry_after` is sent.
        debug: whether the client sees what functions raise.
    """
    error.with_context(request_id=request_id)
    rows = [("Content-Type", PROBLEM), ("X-Request-ID", request_id), *headers]
    wait = getattr(error, "retry_after", None)
    retry_after = format_retry_after(wait) if isinstance(wait, int | float) else None
    if retry_after is not None and not any(name.lower() == "retry-after" for name, _ in rows):
        rows.append(("Retry-After", retry_after))
    return Response(error.status, rows, encode_problem(error, debug=debug))
