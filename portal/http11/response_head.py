"""Encode response heads and chunks for a server, and parse response heads for a client.

Source: RFC 9112 sections 4 and 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

from ..errors import ProtocolError
from .dates import format_http_date
from .fields import REQUEST_ID, is_field_value, is_token, parse_field_line

__all__ = [
    "BODILESS",
    "LAST_CHUNK",
    "PROBLEM",
    "check_field",
    "encode_chunk",
    "encode_head",
    "parse_response_head",
    "status_line",
]

LAST_CHUNK = b"0\r\n\r\n"
#: Media type of a problem document (RFC 9457).
PROBLEM = "application/problem+json"
#: Final statuses whose responses never have a body (RFC 9112 section 6.3).
BODILESS = (204, 304)

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
#: The head of the response to nearly every call. The client needs only the length from its headers.
_COMMON_HEAD = re.compile(
    rb"HTTP/1\.1 200 OK\r\nDate: [ -~]{29}\r\nContent-Type: application/json\r\n"
    rb"X-Request-ID: " + REQUEST_ID.encode() + rb"\r\nContent-Length: ([0-9]{1,15})"
)
_FOLD = re.compile(rb"\r\n[\t ]+")
_MAX_NAMES = 1024
# Each of the two is replaced as a whole, so that threads need no lock.
_checked_names: frozenset[str] = frozenset()
_starts: tuple[int, dict[int, str]] = (0, {})  # the current second, and the first lines of its heads by status


def status_line(status: int) -> str:
    """Return the status and its reason phrase, as in "404 Not Found"."""
    return f"{status} {_REASONS.get(status, 'Unknown')}"


def _start(status: int, second: int) -> str:
    """Return the status line and the Date header. They are made once a second for each status."""
    global _starts
    known_second, lines = _starts
    if known_second != second:
        lines = {}
        _starts = (second, lines)
    line = lines.get(status)
    if line is None:
        line = lines[status] = f"HTTP/1.1 {status_line(status)}\r\nDate: {format_http_date(second)}\r\n"
    return line


def check_field(name: str, value: str) -> None:
    """Reject a header that would end a head early or add lines to it.

    Raises: ProtocolError (500).
    """
    global _checked_names
    if name not in _checked_names:
        if not is_token(name):
            raise ProtocolError(f"the name of a header must be a token (RFC 9110), got {name[:40]!r}", status=500)
        known = _checked_names
        if len(known) < _MAX_NAMES:
            _checked_names = known | {name}
    if not is_field_value(value):
        raise ProtocolError(f"header {name[:40]} must not contain control characters", status=500)


def encode_head(
    status: int,
    headers: Iterable[tuple[str, str]],
    *,
    keep_alive: bool,
    version: tuple[int, int] = (1, 1),
    length: int | None = None,
    now: float,
) -> bytes:
    """Return a response head with Date and, if needed, Connection.

    Args:
        status: the status code.
        headers: names and values.
        keep_alive: whether the connection is kept.
        version: the version of the request. An HTTP/1.0 client must be told that the connection is kept.
        length: the length of the body for Content-Length; None omits the header.
        now: seconds since 1970.

    Raises: ProtocolError (500) for a header that `check_field` rejects.
    """
    head = _start(status, int(now))
    for name, value in headers:
        if name not in _checked_names or not value.isprintable():  # a usual header needs no call
            check_field(name, value)
        head += f"{name}: {value}\r\n"
    if length is not None:
        head += f"Content-Length: {length}\r\n"
    if not keep_alive:
        head += "Connection: close\r\n"
    elif version < (1, 1):
        head += "Connection: keep-alive\r\n"
    return (head + "\r\n").encode("latin-1", "replace")


def encode_chunk(data: bytes) -> bytes:
    """Return one chunk. `data` must not be empty, because an empty chunk ends a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def parse_response_head(head: bytes) -> tuple[int, dict[str, str], bool]:
    """Return status, headers by lower-case name, and whether the connection may be kept.

    Args:
        head: the head without the blank line at its end.

    Raises: ProtocolError for a head that is not HTTP/1, or that has two lengths of the body.
    """
    common = _COMMON_HEAD.fullmatch(head)
    if common is not None:
        return 200, {"content-type": "application/json", "content-length": common[1].decode()}, True
    if b"\r\n " in head or b"\r\n\t" in head:
        # A client reads folded lines, a server does not (RFC 9112 section 5.2). The status line has none.
        start, end, rest = head.partition(b"\r\n")
        head = start + end + _FOLD.sub(b" ", rest)
    first, *lines = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise ProtocolError(f"the response is not HTTP/1.1: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, text = parse_field_line(line)
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    if "transfer-encoding" in headers and (match[1] == b"0" or "content-length" in headers):
        # An intermediary may have used the other length (RFC 9112 sections 6.1 and 6.3).
        raise ProtocolError("the response has both Content-Length and Transfer-Encoding, or is HTTP/1.0 and chunked")
    connection = headers.get("connection", "").lower()
    keep = "close" not in connection and (match[1] != b"0" or "keep-alive" in connection)
    return int(match[2]), headers, keep
