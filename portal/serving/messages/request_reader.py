"""RequestReader: makes complete requests of bytes. It knows no sockets."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from ...errors import ProtocolError
from ...http11.chunked import ChunkedDecoder
from ...http11.head_cache import HeadCache
from ...http11.request_head import RequestHead, check_no_body, find_head_end
from .stored_body import IN_MEMORY, BodyStore, StoredBody

__all__ = ["Received", "RequestReader"]

Received = tuple[RequestHead, bytes | StoredBody, float]
"""The head and the whole body of a request, and the `time.monotonic()` moment at which the head was complete."""


class RequestReader:
    """Makes complete requests of the bytes of a connection, in order.

    Args:
        clock: seconds, as `time.monotonic`.
        store: has the rules for bodies, and keeps large ones on disk; None keeps all in memory.
        client: whose bytes they are.

    Attributes:
        pending_head: the head of the request whose body is arriving, or None.
        storing: whether the next piece of the body is written to disk, which may take its time.
        wants_continue: whether the client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1).

    Threads: one at a time.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_buffer",
        "_cache",
        "_client",
        "_clock",
        "_decoder",
        "_fed",
        "_limit",
        "_max_body",
        "_max_head",
        "_may_store",
        "_scanned",
        "_store",
        "_stored",
        "_unruled",
        "pending_head",
        "storing",
        "wants_continue",
    )

    def __init__(
        self,
        max_head: int,
        max_body: int,
        cache: HeadCache,
        clock: Callable[[], float] = monotonic,
        *,
        store: BodyStore | None = None,
        client: str | None = None,
    ) -> None:
        self._clock = clock
        self._fed = self._arrived = 0.0  # the moments of the latest bytes and of the end of the head
        self._max_head = max_head
        self._max_body = self._limit = max_body
        self._unruled = min(max_body, IN_MEMORY)  # bytes of a body for which no rule is looked up
        self._cache = cache
        self._buffer = b""
        self._scanned = 0
        self.pending_head: RequestHead | None = None
        self._decoder: ChunkedDecoder | None = None
        self._body = bytearray()
        self.wants_continue = False
        self._store = store
        self._client = client
        self._stored: StoredBody | None = None
        self._may_store = self.storing = False

    @property
    def state(self) -> str:
        """ "idle" between requests, "head" or "body" inside one."""
        if self.pending_head is not None:
            return "body"
        # An empty line before a request is ignored (RFC 9112 section 2.2).
        return "idle" if self._buffer in (b"", b"\r\n") else "head"

    @property
    def buffered(self) -> int:
        """The number of bytes kept of a request whose head has arrived, and whose body has not."""
        return 0 if self.pending_head is None else len(self._body) + len(self._buffer)

    @property
    def arrived(self) -> float:
        """The moment at which the head of the request was complete whose body is arriving."""
        return self._arrived

    @property
    def received(self) -> int:
        """The number of bytes of the body that have arrived."""
        return len(self._body) + (0 if self._stored is None else self._stored.size)

    def drop(self) -> None:
        """Forget all bytes. Nothing more can be read after it."""
        self._body, self._buffer, self._decoder, self._stored = bytearray(), b"", None, None

    def feed(self, data: bytes) -> None:
        """Take the bytes that have arrived."""
        self._fed = self._clock()
        if self.pending_head is not None and self._decoder is None:
            self._body += data
        else:
            self._buffer = self._buffer + data if self._buffer else data

    def take_rest(self) -> bytes:
        """Return and drop the bytes after the last request."""
        rest, self._buffer = self._buffer, b""
        return rest

    def next_request(self) -> Received | None:
        """Return the next complete request, or None until more bytes arrive.

        Raises: ProtocolError with the HTTP status of the response. Nothing more can be read after it.
        """
        if self.pending_head is None:
            if not self._buffer:
                return None
            head = self._take_head()
            if head is None:
                return None
            length = head.content_length
            if length is not None and length <= len(self._buffer) and not self.storing:  # as nearly always
                body, self._buffer = self._buffer[:length], self._buffer[length:]
                return head, body, self._fed
            self._begin_body(head)
        elif self.storing:  # since an earlier call, so that the caller knows of the disk
            return self._read_stored()
        return self._read_chunked() if self._decoder is not None else self._read_sized()

    def _take_head(self) -> RequestHead | None:
        buffer = self._buffer
        end = find_head_end(buffer, self._scanned)
        if end < 0:
            if len(buffer) > self._max_head:
                raise ProtocolError(f"the head is longer than {self._max_head} bytes", status=431)
            self._scanned = max(0, len(buffer) - 3)
            return None
        if end > self._max_head:
            raise ProtocolError(f"the head is longer than {self._max_head} bytes", status=431)
        head = self._cache.parse(buffer[:end])
        self._buffer = buffer[end:]
        self._scanned = 0
        length = head.content_length
        # An app has no rule for small bodies, so that these cost nothing.
        if head.chunked or (length is not None and length > self._unruled):
            self._limit = limit = self._max_body if self._store is None else self._apply_rule(self._store, head)
            if length is not None and length > limit:
                raise ProtocolError(f"the body must have at most {limit} bytes (max_body)", status=413)
        return head

    def _begin_body(self, head: RequestHead) -> None:
        self.pending_head = head
        self._arrived = self._fed
        if head.chunked:
            self._decoder = ChunkedDecoder(self._limit)
        else:
            if head.content_length is None:
                check_no_body(head, self._buffer)
            self._body = bytearray(self._buffer)
            self._buffer = b""
        self.wants_continue = head.expect_continue and not self._buffer and not self._body

    def _apply_rule(self, store: BodyStore, head: RequestHead) -> int:
        """Return the limit of a body, and note whether it is kept on disk if it is large."""
        rule = store.rule_for(head)
        self._may_store = rule is not None and rule.on_disk
        self.storing = self._may_store and (head.content_length or 0) > IN_MEMORY
        return self._max_body if rule is None or rule.max_size is None else rule.max_size

    def _read_sized(self) -> Received | None:
        head = self.pending_head
        assert head is not None
        length = head.content_length or 0
        if len(self._body) < length:
            return None
        body = bytes(self._body[:length])
        return self._complete(head, body, bytes(self._body[length:]))

    def _read_chunked(self) -> Received | None:
        head, decoder = self.pending_head, self._decoder
        assert head is not None
        assert decoder is not None
        self._decode(decoder)
        if not decoder.complete:
            self.storing = self._may_store and len(self._body) > IN_MEMORY
            return None
        return self._complete(head, bytes(self._body), bytes(decoder.remainder))

    def _decode(self, decoder: ChunkedDecoder) -> None:
        if self._buffer:
            self._body += decoder.feed(self._buffer)
            self._buffer = b""

    def _read_stored(self) -> Received | None:
        """Write to disk what has arrived, and return the request if it is complete."""
        head, decoder = self.pending_head, self._decoder
        assert head is not None
        assert self._store is not None
        if decoder is not None:
            self._decode(decoder)
            complete, rest = decoder.complete, decoder.remainder
        else:
            left = (head.content_length or 0) - (0 if self._stored is None else self._stored.size)
            complete, rest = len(self._body) >= left, bytes(self._body[left:])
            del self._body[left:]
        if self._body or self._stored is None:
            self._stored = self._store.append(self._stored, self._body, self._client)
            self._body = bytearray()
        return self._complete(head, self._stored, rest) if complete else None

    def _complete(self, head: RequestHead, body: bytes | StoredBody, rest: bytes) -> Received:
        self.pending_head = None
        self._stored = None
        self.storing = False
        self._decoder = None
        self._body = bytearray()
        self._buffer = rest
        self.wants_continue = False
        return head, body, self._arrived
