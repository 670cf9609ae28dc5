"""Parse the head of an HTTP/1.1 request strictly (RFC 9112).

The parser rejects heads that another parser could read differently, because request smuggling depends on them. Such
heads have a bare CR or LF, folded lines, a space before a colon, two lengths, or a length and a chunked body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from ..errors import ProtocolError
from .fields import TOKEN, parse_field_line, split_list

__all__ = ["RequestHead", "check_no_body", "find_head_end", "parse_request_head"]

_LINE = re.compile(rf"({TOKEN}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])".encode())
_LENGTH = re.compile(r"[0-9]{1,18}")
_ABSOLUTE = re.compile(r"https?://([^/?#@]+)((?:[/?][^#]*)?)", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
_CACHED_LINE = 256  # bytes; longer request lines are not cached
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
#: Headers that may appear only once. With two values it would be open which one counts. X-Request-ID and traceparent
#: are not among them. A proxy may add its own, and two joined values are malformed, so that they are replaced.
_SINGLE = frozenset(
    {"host", "content-length", "content-type", "authorization", "transfer-encoding", "expect", "idempotency-key",
     "x-portal-timeout"}
)  # fmt: skip


class RequestHead:
    """The head of one request. It is immutable, so requests and threads may share it.

    Attributes:
        method, target: as received.
        path, query: the parts of the target, still percent-encoded.
        version: (1, 0) or (1, 1).
        headers: values by lower-case name, read-only. Repeated headers are joined by ", ".
        keep_alive: whether the client wants to keep the connection.
        content_length: bytes of the body, or None.
        chunked: whether the body is chunked.
        expect_continue: whether the client waits for `100 Continue`.
        upgrade: the protocol that the client wants to change to, in lower case, or None.
        template: the cached head that this head repeats, or None if it is not cached. The two may differ only in
            headers that change with each call: ids, deadline, length of the body. The template may be the key of a
            cache of values that depend only on method, target and the other headers.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expect_continue",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "target",
        "template",
        "upgrade",
        "version",
    )

    def __init__(self, method: str, target: str, version: tuple[int, int], headers: dict[str, str]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers: Mapping[str, str] = MappingProxyType(headers)
        self.template: RequestHead | None = None
        self.path, _, self.query = _origin_form(method, target, headers).partition("?")
        self.chunked = _is_chunked(headers, version)
        self.content_length = _content_length(headers, self.chunked)
        _require_length(self)
        self.expect_continue = _expects_continue(headers, version)
        connection = headers.get("connection")
        if connection is None:
            self.keep_alive = version >= (1, 1)
            self.upgrade: str | None = None
            return
        tokens = split_list(connection.lower())
        self.keep_alive = "close" not in tokens and (version >= (1, 1) or "keep-alive" in tokens)
        self.upgrade = headers["upgrade"].lower() if "upgrade" in tokens and "upgrade" in headers else None

    def become_template(self) -> RequestHead:
        """Mark the head as cached and return it."""
        self.template = self
        return self

    def with_headers(self, headers: dict[str, str]) -> RequestHead:
        """Return this head with other headers. They may differ only in the ids, the deadline and Content-Length."""
        made = object.__new__(RequestHead)
        made.method, made.target, made.version = self.method, self.target, self.version
        made.path, made.query = self.path, self.query
        made.keep_alive, made.upgrade = self.keep_alive, self.upgrade
        made.chunked = made.expect_continue = False
        made.headers = MappingProxyType(headers)
        made.content_length = _content_length(headers, False)
        made.template = self.template
        return made


def find_head_end(buffer: bytes, start: int = 0) -> int:
    """Return the index just after the blank line that ends a head, or -1.

    Args:
        start: the index where the search begins. The head must not end before it.

    Raises: ProtocolError for a line that ends without CR LF.
    """
    end = buffer.find(b"\r\n\r\n", start)
    if end < 0 and b"\n" in buffer and buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise ProtocolError("a line ends without CR LF")
    return -1 if end < 0 else end + 4


def parse_request_head(data: bytes, *, max_headers: int = 100, max_target: int = 8192) -> RequestHead:
    """Parse the head of a request.

    Args:
        data: the head, including the blank line at its end.
        max_headers: the largest number of headers.
        max_target: the longest request target, in bytes.

    Raises: ProtocolError with the status of the response: 400, 411, 414, 417, 431, 501 or 505.
    """
    # An empty line before the request line is allowed (RFC 9112 section 2.2).
    lines = data.removeprefix(b"\r\n")[:-4].split(b"\r\n")
    read_line = _cached_request_line if len(lines[0]) <= _CACHED_LINE else _request_line
    method, target, version = read_line(lines[0], max_target)
    if len(lines) - 1 > max_headers:
        raise ProtocolError(f"the request must have at most {max_headers} headers, got {len(lines) - 1}", status=431)
    headers = _headers(lines)
    if version >= (1, 1) and "host" not in headers:
        raise ProtocolError("an HTTP/1.1 request must have a Host header")
    if not _HOST.fullmatch(headers.get("host", "")):
        raise ProtocolError(f"Host must be a host with an optional port, got {headers['host'][:80]!r}")
    return RequestHead(method, target, version, headers)


def _request_line(line: bytes, max_target: int) -> tuple[str, str, tuple[int, int]]:
    match = _LINE.fullmatch(line)
    if match is None:
        if len(line) > max_target and line.count(b" ") == 2:
            raise ProtocolError(f"the request target is longer than {max_target} bytes", status=414)
        raise ProtocolError("malformed request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        version = f"HTTP/{major.decode()}.{minor.decode()}"
        raise ProtocolError(f"{version} is not supported; use HTTP/1.1", status=505)
    if len(target) > max_target:
        raise ProtocolError(f"the request target is longer than {max_target} bytes", status=414)
    return method.decode("ascii"), target.decode("ascii"), (1, min(int(minor), 1))


_cached_request_line = lru_cache(maxsize=512)(_request_line)


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, value = parse_field_line(line)
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise ProtocolError(f"header {name} must appear only once")
        else:
            headers[name] = f"{headers[name]}, {value}"
    return headers


def _origin_form(method: str, target: str, headers: dict[str, str]) -> str:
    if "#" in target:
        raise ProtocolError("the request target must not have a fragment")
    if target.startswith("/"):
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        authority = _HOST.fullmatch(absolute[1])
        if authority is None or not authority[1]:
            raise ProtocolError("malformed host in the request target")
        # RFC 9112 section 3.2.2: the authority of the target replaces the Host header.
        headers["host"] = absolute[1]
        rest = absolute[2]
        return rest if rest.startswith("/") else f"/{rest}"
    if target == "*" and method == "OPTIONS":
        return "*"
    if method == "CONNECT":
        raise ProtocolError("method CONNECT is not supported", status=501)
    raise ProtocolError("malformed request target")


def _is_chunked(headers: dict[str, str], version: tuple[int, int]) -> bool:
    coding = headers.get("transfer-encoding")
    if coding is None:
        return False
    if version < (1, 1):
        raise ProtocolError("Transfer-Encoding is not allowed in HTTP/1.0")
    if coding.lower() != "chunked":
        raise ProtocolError(f"Transfer-Encoding must be chunked, got {coding[:40]!r}", status=501)
    return True


def _content_length(headers: dict[str, str], chunked: bool) -> int | None:
    length = headers.get("content-length")
    if length is None:
        return None
    if chunked:
        raise ProtocolError("the request has both Content-Length and Transfer-Encoding")
    if not (length.isascii() and _LENGTH.fullmatch(length)):
        raise ProtocolError(f"Content-Length must be a number of bytes, got {length[:40]!r}")
    return int(length)


def _require_length(head: RequestHead) -> None:
    """Reject a body without a known end (RFC 9110 section 15.5.12)."""
    if head.chunked or head.content_length is not None or head.method not in _WITH_BODY:
        return
    # Without Content-Type there are no parameters. nginx passes such a request on in HTTP/1.0 and without a length.
    if "content-type" in head.headers:
        raise _missing_length(head)


def _missing_length(head: RequestHead) -> ProtocolError:
    message = f"a {head.method} request must have a length; send Content-Length (0 for no parameters)"
    return ProtocolError(message, status=411)


def check_no_body(head: RequestHead, following: bytes) -> None:
    """Reject an HTTP/1.0 request without a length if bytes follow its head: they are a body, not another request.

    Raises: ProtocolError (411).
    """
    if following and head.content_length is None and head.version < (1, 1) and head.method in _WITH_BODY:
        raise _missing_length(head)


def _expects_continue(headers: dict[str, str], version: tuple[int, int]) -> bool:
    expected = headers.get("expect")
    if expected is None or version < (1, 1):
        return False
    if expected.lower() != "100-continue":
        raise ProtocolError(f"Expect must be 100-continue, got {expected[:40]!r}", status=417)
    return True
