"""The head of an HTTP/1.1 request: bytes in, RequestHead out, strictly (RFC 9112).

What two parsers could read differently is refused rather than guessed, since that is what request smuggling lives on:
bare CR or LF, folded lines, space before a colon, a length that is said twice or in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from ..errors import ProtocolError

__all__ = ["HeadCache", "RequestHead", "find_head_end", "parse_request_head"]

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
# No part of it can match what the part beside it matches: going back over long runs of blanks would take cubic time.
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_ABSOLUTE = re.compile(r"https?://([^/?#@]+)((?:[/?][^#]*)?)(?:#.*)?", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
#: What differs from call to call, and comes last, in the heads that our own client sends.
_AT_THE_END = frozenset({"x-request-id", "x-portal-timeout", "traceparent", "idempotency-key", "content-length"})
_ID_LINE = b"\r\nX-Request-ID: "
_SHORT = 256  # bytes of a header line that is worth keeping
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
#: Fields that may stand once only: a second one would leave open which of them counts.
_SINGLE = frozenset(
    {"host", "content-length", "content-type", "authorization", "transfer-encoding", "expect", "idempotency-key",
     "x-portal-timeout", "x-request-id", "traceparent"}
)  # fmt: skip


class RequestHead:
    """The head of one request; never changed, so it may be shared by equal requests and by threads.

    Attributes:
        method, target: as they came.
        path, query: parts of the target, still percent-encoded.
        version: (1, 0) or (1, 1).
        headers: values by lower-case name, read-only; repeated ones joined by ", ".
        keep_alive: whether the client wants the connection kept.
        content_length: bytes of the body, or None.
        chunked: whether the body comes in chunks.
        expect_continue: whether the client waits for `100 Continue`.
        upgrade: the protocol the client wants to change to, in lower case, or None.
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
        "upgrade",
        "version",
    )

    def __init__(self, method: str, target: str, version: tuple[int, int], headers: dict[str, str]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers: Mapping[str, str] = MappingProxyType(headers)
        self.path, _, self.query = _origin_form(method, target, headers).partition("?")
        self.chunked = _is_chunked(headers, version)
        self.content_length = _content_length(headers, self.chunked)
        _require_length(self)
        self.expect_continue = _expects_continue(headers, version)
        connection = headers.get("connection")
        if connection is None:
            self.keep_alive = version >= (1, 1)
            self.upgrade = None
            return
        tokens = [token.strip().lower() for token in connection.split(",")]
        self.keep_alive = "close" not in tokens and (version >= (1, 1) or "keep-alive" in tokens)
        self.upgrade = headers["upgrade"].lower() if "upgrade" in tokens and "upgrade" in headers else None

    def with_headers(self, headers: dict[str, str]) -> RequestHead:
        """The same head with other headers, of those that change nothing but the length of a body sent plainly."""
        made = object.__new__(RequestHead)
        made.method, made.target, made.version = self.method, self.target, self.version
        made.path, made.query = self.path, self.query
        made.keep_alive, made.upgrade = self.keep_alive, self.upgrade
        made.chunked = made.expect_continue = False
        made.headers = MappingProxyType(headers)
        made.content_length = _content_length(headers, False)
        return made


def find_head_end(buffer: bytes, start: int = 0) -> int:
    """Index just after the blank line that ends a head, or -1.

    Args:
        start: where to begin to look; what is before it is known to hold no end.
    """
    end = buffer.find(b"\r\n\r\n", start)
    if end < 0 and b"\n" in buffer and _has_bare_line_feed(buffer):
        raise ProtocolError("a line ends without CR LF")
    return -1 if end < 0 else end + 4


def _has_bare_line_feed(buffer: bytes) -> bool:
    return buffer.count(b"\n") != buffer.count(b"\r\n")


def parse_request_head(data: bytes, *, max_headers: int = 100, max_target: int = 8192) -> RequestHead:
    """The head in `data`, which ends with its blank line.

    Args:
        max_headers: how many headers there may be.
        max_target: bytes of the request target.
    Raises: ProtocolError with the status to answer: 400, 411, 414, 417, 431, 501 or 505.
    """
    lines = data.removeprefix(b"\r\n")[:-4].split(b"\r\n")  # RFC 9112 section 2.2: an empty line before it is let pass
    read_line = _known_request_line if len(lines[0]) <= _SHORT else _request_line
    method, target, version = read_line(lines[0], max_target)
    if len(lines) - 1 > max_headers:
        raise ProtocolError(f"more than {max_headers} headers", status=431)
    headers = _headers(lines)
    if version >= (1, 1) and "host" not in headers:
        raise ProtocolError("no Host header")
    if not _HOST.fullmatch(headers.get("host", "")):
        raise ProtocolError("a bad Host header")
    return RequestHead(method, target, version, headers)


def _request_line(line: bytes, max_target: int) -> tuple[str, str, tuple[int, int]]:
    match = _LINE.fullmatch(line)
    if match is None:
        if len(line) > max_target and line.count(b" ") == 2:
            raise ProtocolError(f"the target is longer than {max_target} bytes", status=414)
        raise ProtocolError("a bad request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise ProtocolError(f"HTTP/{major.decode()}.{minor.decode()} is not spoken here", status=505)
    if len(target) > max_target:
        raise ProtocolError(f"the target is longer than {max_target} bytes", status=414)
    return method.decode("ascii"), target.decode("ascii"), (1, min(int(minor), 1))


_known_request_line = lru_cache(maxsize=512)(_request_line)


def _header(line: bytes) -> tuple[str, str]:
    """Name and value of a header line."""
    found = _HEADER.fullmatch(line)
    if found is None:
        raise ProtocolError("a bad header line")
    return found[1].decode("ascii").lower(), found[2].strip(b" \t").decode("latin-1")


_known_header = lru_cache(maxsize=512)(_header)  # most lines come again and again


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, value = _known_header(line) if len(line) <= _SHORT else _header(line)
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise ProtocolError(f"{name} is there twice")
        else:
            headers[name] = f"{headers[name]}, {value}"
    return headers


def _origin_form(method: str, target: str, headers: dict[str, str]) -> str:
    if target.startswith("/"):
        return target.partition("#")[0]
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        authority = _HOST.fullmatch(absolute[1])
        if authority is None or not authority[1]:
            raise ProtocolError("a bad host in the request target")
        # RFC 9112 section 3.2.2: the authority of the target replaces the Host header.
        headers["host"] = absolute[1]
        rest = absolute[2]
        return rest if rest.startswith("/") else f"/{rest}"
    if target == "*" and method == "OPTIONS":
        return "*"
    if method == "CONNECT":
        raise ProtocolError("CONNECT is not served", status=501)
    raise ProtocolError("a bad request target")


def _is_chunked(headers: dict[str, str], version: tuple[int, int]) -> bool:
    coding = headers.get("transfer-encoding")
    if coding is None:
        return False
    if version < (1, 1):
        raise ProtocolError("Transfer-Encoding in HTTP/1.0")
    if coding.lower() != "chunked":
        raise ProtocolError(f"transfer coding {coding[:40]!r} is not known", status=501)
    return True


def _content_length(headers: dict[str, str], chunked: bool) -> int | None:
    length = headers.get("content-length")
    if length is None:
        return None
    if chunked:
        raise ProtocolError("both Content-Length and Transfer-Encoding")
    if not (length.isascii() and _LENGTH.fullmatch(length)):
        raise ProtocolError("a bad Content-Length")
    return int(length)


def _require_length(head: RequestHead) -> None:
    """Refuse a body whose end nobody tells (RFC 9110 section 15.5.12)."""
    if head.chunked or head.content_length is not None or head.method not in _WITH_BODY:
        return
    if head.version < (1, 1) or "content-type" in head.headers:
        raise ProtocolError(f"{head.method} without a length: send Content-Length, 0 for no parameters", status=411)


def _expects_continue(headers: dict[str, str], version: tuple[int, int]) -> bool:
    expected = headers.get("expect")
    if expected is None or version < (1, 1):
        return False
    if expected.lower() != "100-continue":
        raise ProtocolError(f"Expect: {expected[:40]!r} cannot be met", status=417)
    return True


class HeadCache:
    """Heads already parsed: a load generator sends the same bytes again, a client the same but for the ids at the end.

    Kept are at most `size` whole heads of at most 1 KiB, once they come for the second time, and `size` beginnings of
    heads that go on with X-Request-ID. Threads: any; a race costs a second parse.

    Args:
        max_headers, max_target: as of `parse_request_head`.
    """

    __slots__ = ("_beginnings", "_heads", "_max_headers", "_max_target", "_seen", "_size")

    def __init__(self, size: int = 256, *, max_headers: int = 100, max_target: int = 8192) -> None:
        self._heads: dict[bytes, RequestHead] = {}
        self._beginnings: dict[bytes, RequestHead] = {}
        self._seen: set[int] = set()
        self._size = size
        self._max_headers = max_headers
        self._max_target = max_target

    def parse(self, data: bytes) -> RequestHead:
        """As `parse_request_head`."""
        head = self._heads.get(data)
        if head is not None:
            return head
        if len(data) > 1024:
            return parse_request_head(data, max_headers=self._max_headers, max_target=self._max_target)
        at = data.find(_ID_LINE)
        if at < 0:
            head = parse_request_head(data, max_headers=self._max_headers, max_target=self._max_target)
            self._keep(data, head)
            return head
        beginning = self._beginnings.get(data[:at])
        if beginning is not None:
            head = _continued(beginning, data[at + 2 : -4])
        if head is None:
            head = parse_request_head(data, max_headers=self._max_headers, max_target=self._max_target)
            self._keep_beginning(data[:at], head)
        return head

    def _keep(self, data: bytes, head: RequestHead) -> None:
        mark = hash(data)
        if mark not in self._seen:
            if len(self._seen) >= 4 * self._size:
                self._seen.clear()
            self._seen.add(mark)
        elif len(self._heads) < self._size:
            self._heads[data] = head
        else:
            self._heads.clear()

    def _keep_beginning(self, data: bytes, head: RequestHead) -> None:
        lines = data.removeprefix(b"\r\n").split(b"\r\n")[1:]
        if len(lines) + len(_AT_THE_END) > self._max_headers:
            return  # how many may follow would have to be counted each time
        names = {_header(line)[0] for line in lines}
        simple = not head.chunked and not head.expect_continue and names.isdisjoint(_AT_THE_END)
        if simple and _AT_THE_END.issuperset(head.headers.keys() - names):
            if len(self._beginnings) >= self._size:
                self._beginnings.clear()
            self._beginnings[data] = head.with_headers({name: head.headers[name] for name in names})


def _continued(beginning: RequestHead, rest: bytes) -> RequestHead | None:
    """The head that begins so and goes on with `rest`; None where that has to be read with more care."""
    headers = dict(beginning.headers)
    for line in rest.split(b"\r\n"):
        name, value = _known_header(line)
        if name not in _AT_THE_END or name in headers:
            return None
        headers[name] = value
    return beginning.with_headers(headers) if "content-length" in headers else None
