"""Requests and connections that the listener rejects itself: their responses, and RejectionLog, which counts them.

No app handles them, so no request log has them. A flood of them must not flood the log either.
"""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from math import inf

from ..._internal.log import get_logger
from ...context import new_request_id
from ...http11.response_head import PROBLEM, encode_head

__all__ = ["RejectionLog", "error_response", "expired_response", "overloaded_response", "problem"]

_log = get_logger("portal.serving")
_PAUSE = 10.0  # seconds between two lines
_RETRY_AFTER = 1  # seconds
_CODES = {404: "registry_error", 503: "overloaded", 504: "timeout"}


class RejectionLog:
    """Counts rejections by reason and logs them from time to time.

    Threads: any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the counts
        self._total = 0
        self._unlogged: dict[str, int] = {}
        self._logged_at = -inf

    @property
    def total(self) -> int:
        """The number of all rejections."""
        return self._total

    def note(self, reason: str) -> None:
        """Count one rejection."""
        with self._lock:
            self._total += 1
            self._unlogged[reason] = self._unlogged.get(reason, 0) + 1

    def flush(self, now: float) -> None:
        """Log a line if something was rejected since the last line and that line is old enough."""
        if not self._unlogged or now < self._logged_at + _PAUSE:
            return
        self._logged_at = now
        with self._lock:
            counts, self._unlogged = self._unlogged, {}
        _log.warning("rejected: %s", ", ".join(f"{count} ({reason})" for reason, count in sorted(counts.items())))


def error_response(status: int, detail: str, *, now: float, retry_after: int | None = None) -> bytes:
    """Return a complete response with a problem document, after which the connection is closed."""
    request_id = new_request_id()
    body = problem(status, detail, request_id)
    headers = [("Content-Type", PROBLEM), ("X-Request-ID", request_id)]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    return encode_head(status, headers, keep_alive=False, length=len(body), now=now) + body


def overloaded_response(reason: str, *, now: float) -> bytes:
    """Return a complete 503 that asks the client to try again after a second."""
    return error_response(503, reason, now=now, retry_after=_RETRY_AFTER)


def expired_response(reason: str, *, now: float) -> bytes:
    """Return a complete 504 for a call whose deadline passed before it ran."""
    return error_response(504, reason, now=now)


def problem(status: int, detail: str, request_id: str) -> bytes:
    """Return the problem document (RFC 9457) for a request that no app handles."""
    code = _CODES.get(status, "protocol_error")
    members = {
        "type": f"urn:portal:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "retryable": status == 503,
    }
    if status in (503, 504):
        members["delivery"] = "not_sent"
    return json.dumps(members).encode()
