"""What a server writes: response heads, chunks, and answers to requests that no app has seen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from ..context import new_request_id
from ..errors import ProtocolError

__all__ = ["LAST_CHUNK", "encode_chunk", "encode_head", "error_answer", "problem"]

LAST_CHUNK = b"0\r\n\r\n"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
_starts: tuple[int, dict[int, str]] = (0, {})  # of one second, by status
_good_names: set[str] = set()


def _start(status: int, second: int) -> str:
    """The status line and the Date header, made once a second."""
    global _starts
    known_second, lines = _starts
    if known_second != second:
        lines = {}
        _starts = (second, lines)
    line = lines.get(status)
    if line is None:
        date = formatdate(second, usegmt=True)
        line = lines[status] = f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {date}\r\n"
    return line


def _check(name: str, value: str) -> None:
    if name not in _good_names:
        if not _NAME.fullmatch(name):
            raise ProtocolError(f"header {name[:40]!r} cannot be sent", status=500)
        if len(_good_names) < 1024:
            _good_names.add(name)
    if _BAD_VALUE.search(value):
        raise ProtocolError(f"header {name[:40]!r} cannot be sent", status=500)


def encode_head(
    status: int,
    headers: Iterable[tuple[str, str]],
    *,
    keep_alive: bool,
    version: tuple[int, int] = (1, 1),
    length: int | None = None,
    now: float,
) -> bytes:
    """A response head, with Date and, where it is needed, Connection.

    Args:
        version: of the request; an HTTP/1.0 client must be told that the connection is kept.
        length: of the body, for Content-Length; None leaves it out.
        now: seconds since 1970.
    Raises: ProtocolError (500) for a header that would break the head apart.
    """
    head = _start(status, int(now))
    for name, value in headers:
        if name not in _good_names or not value.isprintable():  # what is usual costs no call
            _check(name, value)
        head += f"{name}: {value}\r\n"
    if length is not None:
        head += f"Content-Length: {length}\r\n"
    if not keep_alive:
        head += "Connection: close\r\n"
    elif version < (1, 1):
        head += "Connection: keep-alive\r\n"
    return (head + "\r\n").encode("latin-1", "replace")


def encode_chunk(data: bytes) -> bytes:
    """One chunk; `data` is not empty, since an empty chunk ends a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


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
        "title": _REASONS.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "retryable": status == 503,
    }
    return json.dumps(members).encode()
