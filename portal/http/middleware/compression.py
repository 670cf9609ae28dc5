"""Compression: gzip and deflate in both directions, with limits on decompressed bodies.

Source: RFC 9110 section 8.4.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import lru_cache

from ..._internal.settings import count, size, whole_number
from ...errors import ProtocolError
from ...http11.entity_tags import lists_weak_tag, weak_tag
from ...http11.fields import quality_values
from ...serving import Request, Response
from ..messages.content_coding import CODINGS, MAX_RATIO, WINDOWS, DecompressionLimit, decompress, exceeds_ratio
from .base import HTTPNext, Pieces, add_vary, reject

__all__ = ["Compression", "choose_coding"]

#: Media types worth compressing; images, fonts and archives are compressed already.
_WORTH_IT = re.compile(
    r"text/.*|image/svg\+xml|application/(?:.*\+)?(?:json|xml|javascript|ecmascript|x-ndjson|ndjson|yaml|wasm)"
)


def choose_coding(accept_encoding: str) -> str | None:
    """Return the content coding for a response: "gzip", "deflate", or None.

    With equal weights it is gzip. Malformed elements are ignored.

    Source: RFC 9110 section 12.5.3.
    """
    return (_known_choice if len(accept_encoding) <= 256 else _choose)(accept_encoding)


def _choose(accept_encoding: str) -> str | None:
    weights: dict[str, float] = {}
    for name, weight in quality_values(accept_encoding):
        if weight is not None:
            weights["gzip" if name == "x-gzip" else name] = weight
    other = weights.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda name: weights.get(name, other))
    weight_of_best = weights.get(best, other)
    return best if weight_of_best > 0 and weight_of_best >= weights.get("identity", 0.0) else None


_DEFAULT_LIMIT = DecompressionLimit()  # of an application that is not a portal's
_known_choice = lru_cache(maxsize=256)(_choose)


class Compression:
    """HTTP middleware that decompresses requests, and compresses responses for clients that accept it.

    A response stays unchanged if it is small, has no body, is encoded already, says `no-transform`, or would not become
    smaller; so do media types that are compressed already. A response that would become smaller by a factor of more
    than 100 stays unchanged too, because a client may take it for an attack. A response to HEAD has the headers of the
    response to GET, with the length of its compressed body. Each piece of a stream is flushed, so that its reader gets
    every item at once. A strong ETag becomes a weak one (RFC 9110 section 8.8.1).

    The length of a compressed response depends on its content. Over TLS, a response that contains a secret and text
    chosen by an attacker reveals the secret bit by bit (BREACH, CVE-2013-3587). Exclude such functions with `When`.

    Args:
        minimum_size: bytes; smaller responses are not compressed.
        level: of zlib, 1 (fastest) to 9 (smallest).
        max_decompressed: bytes of a decompressed request body at most; None for the limit of any other body
            (`max_body` of ServingConfig).
        max_ratio: decompressed bytes of a request body for each compressed byte, beyond 64 KiB.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    around = "request"  # the kind of middleware; see `resolve_middleware`
    guards_authentication = False  # see `early_authentication`

    def __init__(
        self,
        *,
        minimum_size: int = 1024,
        level: int = 6,
        max_decompressed: int | None = None,
        max_ratio: int = MAX_RATIO,
    ) -> None:
        self._minimum_size = size("compression.minimum_size", minimum_size, minimum=0)
        self._level = whole_number("compression.level", level, minimum=1, maximum=9)
        self._max_decompressed = size("compression.max_decompressed", max_decompressed, optional=True)
        self._max_ratio = count("compression.max_ratio", max_ratio)

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        """Decompress the request's body, pass the request on, and compress the response."""
        coding = request.headers.get("content-encoding")
        if coding is not None:
            try:
                self._decode(request, coding)
            except ProtocolError as error:
                if error.status == 413:
                    _limit_of(request).rejected.add()
                response = reject(request, error)
                if error.status == 415:
                    response.headers.append(("Accept-Encoding", CODINGS))
                return response
        return self._encode(request, call_next(request))

    def _decode(self, request: Request, coding: str) -> None:
        name = coding.strip(" \t").lower()
        if name == "identity" or (not request.body and name in WINDOWS):
            return
        limit = self._max_decompressed or _limit_of(request).max_size
        request.body = decompress(request.body, coding, limit, self._max_ratio)
        # Equal requests share the dict. Without the header nothing decodes the body again, nor does a late response.
        headers = {name: value for name, value in request.headers.items() if name != "content-encoding"}
        if "content-length" in headers:
            headers["content-length"] = str(len(request.body))
        request.headers = headers

    def _encode(self, request: Request, response: Response) -> Response:
        headers = {name.lower(): value for name, value in response.headers}
        body = response.body
        if response.status == 304:
            _revalidated(request, response)
            return response
        if response.status in (204, 206) or response.status < 200 or not _may_change(headers):
            return response
        omitted = request.method == "HEAD" and body == b""
        if isinstance(body, bytes) and len(body) < self._minimum_size and not omitted:
            return response
        add_vary(response, "Accept-Encoding")
        coding = choose_coding(request.headers.get("accept-encoding", ""))
        if coding is None or omitted:
            return response
        machine = zlib.compressobj(self._level, zlib.DEFLATED, WINDOWS[coding])
        if isinstance(body, bytes):
            packed = machine.compress(body) + machine.flush()
            if len(packed) >= len(body) or exceeds_ratio(len(body), len(packed)):
                return response
            response.body = packed
        else:
            response.body = _Compressed(body, machine)
        _weaken(response)
        response.headers.append(("Content-Encoding", coding))
        return response


def _limit_of(request: Request) -> DecompressionLimit:
    limit = request.notes.get("decompression")
    return limit if isinstance(limit, DecompressionLimit) else _DEFAULT_LIMIT


def _may_change(headers: dict[str, str]) -> bool:
    if "content-encoding" in headers or "no-transform" in headers.get("cache-control", "").lower():
        return False
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    return _WORTH_IT.fullmatch(media) is not None


def _revalidated(request: Request, response: Response) -> None:
    """Give a 304 response the entity tag that the client stored, so that the client recognizes it."""
    held = request.headers.get("if-none-match")
    if any(name.lower() == "etag" and lists_weak_tag(held, value) for name, value in response.headers):
        _weaken(response)
    add_vary(response, "Accept-Encoding")


def _weaken(response: Response) -> None:
    """Make the entity tag weak: the content is equivalent, but the bytes differ."""
    response.headers = [
        (name, weak_tag(value) if name.lower() == "etag" else value) for name, value in response.headers
    ]


class _Compressed(Pieces):
    """A compressed stream that is flushed after each piece, so that a reader gets every item at once."""

    def __init__(self, pieces: Iterator[bytes], machine: zlib._Compress) -> None:
        super().__init__(pieces)
        self._machine: zlib._Compress | None = machine
        self._waits = False  # whether it waits for the next piece, and has compressed all pieces before it

    def __next__(self) -> bytes:
        machine = self._machine
        if machine is None:
            raise StopIteration
        self._waits = True
        try:
            piece = super().__next__()
        except StopIteration:
            self._machine = None
            return machine.flush()
        finally:
            self._waits = False
        return machine.compress(piece) + machine.flush(zlib.Z_SYNC_FLUSH) if piece else b""

    def encode_abort_chunk(self, piece: bytes) -> bytes:
        """Return the piece compressed, or b"" while another piece is being compressed, which will not be sent."""
        piece, machine = super().encode_abort_chunk(piece), self._machine
        return machine.compress(piece) + machine.flush(zlib.Z_SYNC_FLUSH) if machine and self._waits and piece else b""
