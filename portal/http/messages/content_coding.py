"""Content codings: gzip and deflate, with a limit on the size of a decompressed body.

Sources: RFC 9110 section 8.4, RFC 1950 (zlib), RFC 1952 (gzip).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator

from ...errors import ProtocolError

__all__ = ["CODINGS", "WINDOWS", "compress", "decompress", "decompressed"]

#: The supported codings, as the value of Accept-Encoding.
CODINGS = "gzip, deflate"
#: The `wbits` of zlib by coding: 31 is gzip, 15 is the zlib format, which HTTP calls deflate.
WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_PIECE = 64 * 1024  # bytes to decompress at once; a thousandth of that may have arrived


def compress(body: bytes) -> bytes:
    """Return the body in gzip; equal bodies give equal bytes."""
    return gzip.compress(body, 6, mtime=0)


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """Return a body without its content coding.

    Args:
        coding: the value of Content-Encoding; "identity" means that there is none.
        limit: bytes of the result. At most one byte more is decompressed.

    Raises: ProtocolError: 400 if the body is not exactly one gzip member or one zlib stream; 413 if the result is
        longer than `limit`; 415 for an unknown coding and for more than one.
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
        data = machine.decompress(body, limit + 1)
    except zlib.error:
        raise ProtocolError(f"Content-Encoding is {name}, but the body is not {name}") from None
    if len(data) > limit:
        raise _too_long(limit)
    if not machine.eof or machine.unused_data:
        unit = "zlib stream" if name == "deflate" else "gzip member"
        raise ProtocolError(f"the body must be exactly one {unit}")
    return data


def _too_long(limit: int) -> ProtocolError:
    return ProtocolError(f"the decompressed body must have at most {limit} bytes", status=413)


def decompressed(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Yield a response body without its content coding, as it arrives, in pieces of at most 64 KiB.

    The caller must limit the sum of the pieces.

    Args:
        pieces: the body as it arrives.
        coding: the value of Content-Encoding; "identity" means that there is none.

    Raises: ProtocolError for an unknown coding, a body in another coding, and bytes after its end;
        ConnectionResetError if the end is missing.
    """
    name = coding.strip(" \t").lower()
    if name == "identity":
        yield from pieces
        return
    if name not in WINDOWS:
        raise ProtocolError(f"the Content-Encoding of the response must be one of {CODINGS}, got {coding[:40]!r}")
    machine = zlib.decompressobj(WINDOWS[name])
    for piece in pieces:
        rest = piece
        while rest and not machine.eof:
            try:
                data = machine.decompress(rest, _PIECE)
            except zlib.error:
                raise ProtocolError(f"the Content-Encoding of the response is {name}, but its body is not") from None
            rest = machine.unconsumed_tail
            if data:
                yield data
        if machine.unused_data or (machine.eof and rest):
            raise ProtocolError(f"the response has bytes after the end of its {name} body")
    if not machine.eof:
        raise ConnectionResetError("the connection closed before the end of the response")
