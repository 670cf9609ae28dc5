"""Content codings: gzip and deflate, with limits on the size and the ratio of a decompressed body.

Zeros compress 1,030 times, JSON with much repetition rarely more than 50 times.

Sources: RFC 9110 section 8.4, RFC 1950 (zlib), RFC 1952 (gzip).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator

from ..._internal.counter import Counter
from ...errors import ProtocolError

__all__ = [
    "CODINGS",
    "MAX_RATIO",
    "WINDOWS",
    "DecompressionLimit",
    "compress",
    "decompress",
    "decompressed",
    "exceeds_ratio",
]

#: The supported codings, as the value of Accept-Encoding.
CODINGS = "gzip, deflate"
#: The `wbits` of zlib by coding: 31 is gzip, 15 is the zlib format, which HTTP calls deflate.
WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
#: Decompressed bytes for each compressed byte, by default.
MAX_RATIO = 100
_FREE = 64 * 1024  # decompressed bytes of a request that may have any ratio
_FREE_OF_RESPONSE = 1024 * 1024
_PIECE = 64 * 1024  # bytes to decompress at once; a thousandth of that may have arrived


def compress(body: bytes) -> bytes:
    """Return the body in gzip; equal bodies give equal bytes."""
    return gzip.compress(body, 6, mtime=0)


class DecompressionLimit:
    """The default limit of decompressed bodies of one server, and the number of bodies that exceed a limit.

    Args:
        max_size: bytes of a decompressed body; the same as the limit of a body that is not compressed.

    Threads: any.
    """

    def __init__(self, max_size: int = 1024 * 1024) -> None:
        self.max_size = max_size
        self.rejected = Counter()


def exceeds_ratio(size: int, compressed_size: int, max_ratio: int = MAX_RATIO) -> bool:
    """Return whether a server or client with the same ratio rejects a compressed body of these sizes."""
    return size > max(_FREE, max_ratio * compressed_size)


def decompress(body: bytes, coding: str, limit: int, max_ratio: int = MAX_RATIO) -> bytes:
    """Return a body without its content coding.

    Args:
        coding: the value of Content-Encoding; "identity" means that there is none.
        limit: bytes of the result. At most one byte more is decompressed.
        max_ratio: bytes of the result for each byte of the body, beyond 64 KiB of the result.

    Raises: ProtocolError: 400 if the body is not exactly one gzip member or one zlib stream; 413 if the result is
        longer than `limit` or `max_ratio` allows; 415 for an unknown coding and for more than one.
    """
    name = coding.strip(" \t").lower()
    if name == "identity":
        if len(body) > limit:
            raise _too_long(limit)
        return body
    window = WINDOWS.get(name)
    if window is None:
        raise ProtocolError(f"Content-Encoding must be one of {CODINGS}, got {coding[:40]!r}", status=415)
    machine = zlib.decompressobj(window)
    try:
        allowed = min(limit, max(_FREE, max_ratio * len(body)))
        data = machine.decompress(body, allowed + 1)
    except zlib.error:
        raise ProtocolError(f"Content-Encoding is {name}, but the body is not {name}") from None
    if len(data) > allowed:
        raise _too_long(limit) if allowed == limit else _ratio_too_high("body", max_ratio)
    if not machine.eof or machine.unused_data:
        unit = "zlib stream" if name == "deflate" else "gzip member"
        raise ProtocolError(f"the body must be exactly one {unit}")
    return data


def _too_long(limit: int) -> ProtocolError:
    return ProtocolError(f"the decompressed body must have at most {limit} bytes", status=413)


def _ratio_too_high(subject: str, max_ratio: int) -> ProtocolError:
    reason = (
        f"the {subject} must have at most {max_ratio} decompressed bytes for each compressed byte; send it uncompressed"
    )
    return ProtocolError(reason, status=413)


def decompressed(pieces: Iterable[bytes], coding: str, max_ratio: int | None = None) -> Iterator[bytes]:
    """Yield a response body without its content coding, as it arrives, in pieces of at most 64 KiB.

    The caller must limit the sum of the pieces.

    Args:
        pieces: the body as it arrives.
        coding: the value of Content-Encoding; "identity" means that there is none.
        max_ratio: decompressed bytes for each compressed byte, beyond 1 MiB; None for any number.

    Raises: ProtocolError for a ratio above `max_ratio`, an unknown coding, a body in another coding, and bytes after
        its end; ConnectionResetError if the end is missing.
    """
    name = coding.strip(" \t").lower()
    if name == "identity":
        yield from pieces
        return
    if name not in WINDOWS:
        raise ProtocolError(f"the Content-Encoding of the response must be one of {CODINGS}, got {coding[:40]!r}")
    decoder = _Decoder(name, max_ratio)
    for piece in pieces:
        yield from decoder.feed(piece)
    if not decoder.complete:
        raise ConnectionResetError("the connection closed before the end of the response")


class _Decoder:
    """Decompresses one response body: one zlib stream, or gzip members, which follow each other (RFC 1952, 2.2).

    Args:
        name, max_ratio: see `decompressed`.

    Raises: ProtocolError, as `decompressed`.
    """

    def __init__(self, name: str, max_ratio: int | None) -> None:
        self._name = name
        self._max_ratio = max_ratio
        self._machine = zlib.decompressobj(WINDOWS[name])
        self._taken = self._given = 0

    @property
    def complete(self) -> bool:
        """Whether the body may end here."""
        return self._machine.eof

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece of the body contains. After each member there is a piece, which may be empty."""
        self._taken += len(piece)
        rest = piece
        while rest:
            if self._machine.eof:
                self._begin_member(rest)
            try:
                data = self._machine.decompress(rest, _PIECE)
            except zlib.error:
                words = f"the Content-Encoding of the response is {self._name}, but its body is not"
                raise ProtocolError(words) from None
            rest = self._machine.unused_data if self._machine.eof else self._machine.unconsumed_tail
            self._given += len(data)
            if self._max_ratio is not None and self._given > max(_FREE_OF_RESPONSE, self._max_ratio * self._taken):
                raise _ratio_too_high("response", self._max_ratio)
            if data or self._machine.eof:
                yield data  # also if it is empty, so that a reader of many empty members can stop

    def _begin_member(self, rest: bytes) -> None:
        if self._name == "deflate" or not rest.startswith(b"\x1f"):
            raise ProtocolError(f"the response has bytes after the end of its {self._name} body")
        self._machine = zlib.decompressobj(WINDOWS[self._name])
