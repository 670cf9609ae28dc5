"""HeadCache: keeps parsed request heads, because clients send the same bytes again and again."""

from __future__ import annotations

import threading

from .fields import parse_field_line
from .request_head import RequestHead, parse_request_head

__all__ = ["HeadCache"]

#: Headers that differ from call to call; Portal's client sends them last.
_PER_CALL = frozenset(
    {"x-request-id", "x-portal-timeout", "traceparent", "tracestate", "idempotency-key", "content-length"}
)
_ID_LINE = b"\r\nX-Request-ID: "
_CACHED_HEAD = 1024  # bytes; longer heads are not cached


class HeadCache:
    """Parses request heads and keeps them.

    A load generator repeats whole heads. Portal's client repeats everything except the ids at the end. The cache keeps
    whole heads from their second arrival on, and prefixes of heads that continue with X-Request-ID.

    Args:
        max_entries: the largest number of whole heads, and of prefixes.
        max_headers, max_target: see `parse_request_head`.

    Threads: any; a look-up takes no lock.
    """

    __slots__ = ("_heads", "_lock", "_max_entries", "_max_headers", "_max_target", "_prefixes", "_seen")

    def __init__(self, max_entries: int = 256, *, max_headers: int = 100, max_target: int = 8192) -> None:
        self._lock = threading.Lock()  # guards adding to the three tables and clearing them
        self._heads: dict[bytes, RequestHead] = {}
        self._prefixes: dict[bytes, RequestHead] = {}
        self._seen: set[int] = set()
        self._max_entries = max_entries
        self._max_headers = max_headers
        self._max_target = max_target

    def get(self, data: bytes) -> RequestHead | None:
        """Return the head if exactly these bytes are cached, or None."""
        return self._heads.get(data)

    def parse(self, data: bytes) -> RequestHead:
        """Return the head of a request; see `parse_request_head`."""
        head = self._heads.get(data)
        if head is not None:
            return head
        if len(data) > _CACHED_HEAD:
            return self._parse(data)
        at = data.find(_ID_LINE)
        if at < 0:
            head = self._parse(data)
            self._keep(data, head)
            return head
        prefix = self._prefixes.get(data[:at])
        if prefix is not None:
            head = _continued(prefix, data[at + 2 : -4])
        if head is None:
            head = self._parse(data)
            self._keep_prefix(data[:at], head)
        return head

    def _parse(self, data: bytes) -> RequestHead:
        return parse_request_head(data, max_headers=self._max_headers, max_target=self._max_target)

    def _keep(self, data: bytes, head: RequestHead) -> None:
        mark = hash(data)
        with self._lock:
            if mark not in self._seen:
                if len(self._seen) >= 4 * self._max_entries:
                    self._seen.clear()
                self._seen.add(mark)
            elif len(self._heads) < self._max_entries:
                self._heads.setdefault(data, head.become_template())
            else:
                self._heads.clear()

    def _keep_prefix(self, data: bytes, head: RequestHead) -> None:
        lines = data.removeprefix(b"\r\n").split(b"\r\n")[1:]
        if len(lines) + len(_PER_CALL) > self._max_headers:
            return  # the headers after the prefix would have to be counted each time
        names = {parse_field_line(line)[0] for line in lines}
        simple = not head.chunked and not head.expect_continue and names.isdisjoint(_PER_CALL)
        if simple and _PER_CALL.issuperset(head.headers.keys() - names):
            prefix = head.with_headers({name: head.headers[name] for name in names}).become_template()
            with self._lock:
                if len(self._prefixes) >= self._max_entries:
                    self._prefixes.clear()
                self._prefixes.setdefault(data, prefix)


def _continued(prefix: RequestHead, rest: bytes) -> RequestHead | None:
    """Return the head of a cached prefix and the lines after it; None if only a full parse can decide."""
    headers = dict(prefix.headers)
    for line in rest.split(b"\r\n"):
        name, value = parse_field_line(line)
        if name not in _PER_CALL or name in headers:
            return None
        headers[name] = value
    return prefix.with_headers(headers) if "content-length" in headers else None
