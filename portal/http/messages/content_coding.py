"""Content codings: gzip and deflate undone, with a bound on what a small body may become (RFC 9110 section 8.4)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator

from ...errors import ProtocolError

__all__ = ["CODINGS", "WINDOWS", "compress", "decompress", "decompressed"]

#: What is understood, as a client would say it in Accept-Encoding.
CODINGS = "gzip, deflate"
#: zlib's window: 31 is gzip, 15 the zlib format that HTTP calls deflate.
WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_PIECE = 64 * 1024  # bytes made at once: a thousandth of that may have come


def compress(body: bytes) -> bytes:
    """The body in gzip, the same for the same body."""
    return gzip.compress(body, 6, mtime=0)


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """The body that `coding` was applied to; "identity" gives it as it is.

    A gzip body is one member: what follows it is refused, whatever it is. Deflate is the zlib format (RFC 1950).
    No more than `limit` bytes, and one, are ever made.

    Raises: ProtocolError: 413 when it is longer than `limit`, 400 for what is not of this coding or is followed by
        something else, 415 for a coding that is not known, and for several at once.
    """
    name = coding.strip(" \t").lower()
    if name == "identity":
        if len(body) > limit:
            raise _too_long(limit)
        return body
    window = WINDOWS.get(name)
    if window is None:
        raise ProtocolError(f"Content-Encoding is {coding[:40]!r}; known, one at a time: {CODINGS}", status=415)
    machine = zlib.decompressobj(window)
    try:
        data = machine.decompress(body, limit + 1)
    except zlib.error:
        raise ProtocolError(f"the body is no {name}") from None
    if len(data) > limit:
        raise _too_long(limit)
    if not machine.eof or machine.unused_data:
        raise ProtocolError(f"the body is no whole {name}, and that alone")
    return data


def _too_long(limit: int) -> ProtocolError:
    return ProtocolError(f"the body is longer than {limit} bytes once it is decompressed", status=413)


def decompressed(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """What `coding` was applied to, as it comes, in pieces of at most 64 KiB; whoever takes them bounds their sum.

    Raises: ProtocolError for a coding that is not known, for what is not of it, and for what follows its end;
        ConnectionResetError when the end is missing.
    """
    name = coding.strip(" \t").lower()
    if name == "identity":
        yield from pieces
        return
    if name not in WINDOWS:
        raise ProtocolError(f"the answer is encoded as {coding[:40]!r}; asked for were {CODINGS}")
    machine = zlib.decompressobj(WINDOWS[name])
    for piece in pieces:
        rest = piece
        while rest and not machine.eof:
            try:
                data = machine.decompress(rest, _PIECE)
            except zlib.error:
                raise ProtocolError(f"the answer is no {name}") from None
            rest = machine.unconsumed_tail
            if data:
                yield data
        if machine.unused_data or (machine.eof and rest):
            raise ProtocolError(f"something follows the end of the {name}")
    if not machine.eof:
        raise ConnectionResetError("the answer was cut off")
