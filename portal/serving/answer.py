"""What a server writes: response heads, chunks, and answers to requests that no app has seen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from ..errors import ProtocolError

__all__ = ["LAST_CHUNK", "encode_chunk", "encode_head", "error_answer"]

LAST_CHUNK = b"0\r\n\r\n"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
_date: tuple[int, str] = (0, "")


def _date_at(now: float) -> str:
    """The Date header's value, made once a second."""
    global _date
    second, text = _date
    if second != int(now):
        text = formatdate(now, usegmt=True)
        _date = (int(now), text)
    return text


def encode_head(
    status: int,
    headers: Iterable[tuple[str, str]],
    *,
    keep_alive: bool,
    version: tuple[int, int] = (1, 1),
    now: float,
) -> bytes:
    """A response head, with Date and, where it is needed, Connection.

    Args:
        version: of the request; an HTTP/1.0 client must be told that the connection is kept.
        now: seconds since 1970.
    Raises: ProtocolError (500) for a header that would break the head apart.
    """
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {_date_at(now)}\r\n"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or _BAD_VALUE.search(value):
            raise ProtocolError(f"header {name[:40]!r} cannot be sent", status=500)
        lines.append(f"{name}: {value}\r\n")
    if not keep_alive:
        lines.append("Connection: close\r\n")
    elif version < (1, 1):
        lines.append("Connection: keep-alive\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1", "replace")


def encode_chunk(data: bytes) -> bytes:
    """One chunk; `data` is not empty, since an empty chunk ends a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_answer(status: int, detail: str, *, now: float, retry_after: int | None = None) -> bytes:
    """A whole answer with a problem document, after which the connection is closed."""
    body = problem(status, detail)
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body)))]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    return encode_head(status, headers, keep_alive=False, now=now) + body


def problem(status: int, detail: str) -> bytes:
    """The problem document (RFC 9457) for a request that no app has seen."""
    code = "overloaded" if status == 503 else "registry_error" if status == 404 else "protocol_error"
    members = {
        "type": f"urn:portal:error:{code}",
        "title": _REASONS.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": status == 503,
    }
    return json.dumps(members).encode()
