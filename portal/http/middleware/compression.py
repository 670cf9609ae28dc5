"""Compression: gzip and deflate both ways, with a bound on what a small body may become (RFC 9110 section 8.4)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import lru_cache

from ...errors import ConfigError, ProtocolError
from ...http11.entity_tags import lists_weak_tag, weak_tag
from ...http11.fields import quality_values
from ...serving import Request, Response
from ..messages.content_coding import CODINGS, WINDOWS, decompress
from .base import HTTPNext, Pieces, add_vary, refusal

__all__ = ["Compression", "choose_coding"]

#: Media types that grow smaller; pictures, fonts and archives are compressed already.
_WORTH_IT = re.compile(
    r"text/.*|image/svg\+xml|application/(?:.*\+)?(?:json|xml|javascript|ecmascript|x-ndjson|ndjson|yaml|wasm)"
)


def choose_coding(accept_encoding: str) -> str | None:
    """The coding to answer in, "gzip" or "deflate", or None for none (RFC 9110 section 12.5.3).

    Of equal weights gzip is taken. An element that is malformed counts for nothing.
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


_known_choice = lru_cache(maxsize=256)(_choose)


class Compression:
    """HTTP middleware that reads compressed requests and compresses answers for clients that ask for it.

    Left as they are: small answers, those to HEAD, those without a body, those that are encoded already or say
    `no-transform`, media types that are compressed by nature, and what does not grow smaller. Of a stream each piece
    is flushed, so that its reader has every item at once. A strong ETag becomes a weak one (RFC 9110 section 8.8.1).

    The length of a compressed answer tells what is in it: over TLS, an answer that holds a secret beside text of an
    attacker's choice gives the secret away bit by bit (the BREACH attack, CVE-2013-3587). Leave such functions out,
    with `When`.

    Args:
        minimum: bytes from which an answer is worth compressing.
        level: zlib's, 1 (fast) to 9 (small).
        max_decompressed: bytes that a request's body may become.

    Raises: ConfigError. Threads: any.
    """

    around = "request"  # its place in a portal; see `resolve_middleware`

    def __init__(self, *, minimum: int = 1024, level: int = 6, max_decompressed: int = 8 * 1024 * 1024) -> None:
        for name, value, least, most in (
            ("minimum", minimum, 0, 1 << 40),
            ("level", level, 1, 9),
            ("max_decompressed", max_decompressed, 1, 1 << 40),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                path, allowed = f"compression.{name}", f"a whole number from {least} to {most}"
                raise ConfigError(f"{path} is {value!r}; expected: {allowed}", path=path, expected=allowed)
        self._minimum = minimum
        self._level = level
        self._limit = max_decompressed

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        coding = request.headers.get("content-encoding")
        if coding is not None:
            try:
                self._decode(request, coding)
            except ProtocolError as error:
                response = refusal(request, error)
                if error.status == 415:
                    response.headers.append(("Accept-Encoding", CODINGS))
                return response
        return self._encode(request, call_next(request))

    def _decode(self, request: Request, coding: str) -> None:
        name = coding.strip(" \t").lower()
        if name == "identity" or (not request.body and name in WINDOWS):
            return
        request.body = decompress(request.body, coding, self._limit)
        # The dict is shared by equal requests. Without the header nobody, not the late answer either, decodes again.
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
        if isinstance(body, bytes) and len(body) < self._minimum and request.method != "HEAD":
            return response
        add_vary(response, "Accept-Encoding")
        coding = choose_coding(request.headers.get("accept-encoding", ""))
        if coding is None or request.method == "HEAD":
            return response
        machine = zlib.compressobj(self._level, zlib.DEFLATED, WINDOWS[coding])
        if isinstance(body, bytes):
            packed = machine.compress(body) + machine.flush()
            if len(packed) >= len(body):
                return response
            response.body = packed
        else:
            response.body = _Compressed(body, machine)
        _weaken(response)
        response.headers.append(("Content-Encoding", coding))
        return response


def _may_change(headers: dict[str, str]) -> bool:
    if "content-encoding" in headers or "no-transform" in headers.get("cache-control", "").lower():
        return False
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    return _WORTH_IT.fullmatch(media) is not None


def _revalidated(request: Request, response: Response) -> None:
    """What is not modified has the tag under which the client keeps it, else it could not use the answer."""
    held = request.headers.get("if-none-match")
    if any(name.lower() == "etag" and lists_weak_tag(held, value) for name, value in response.headers):
        _weaken(response)
    add_vary(response, "Accept-Encoding")


def _weaken(response: Response) -> None:
    """The same answer, but not the same bytes."""
    response.headers = [
        (name, weak_tag(value) if name.lower() == "etag" else value) for name, value in response.headers
    ]


class _Compressed(Pieces):
    """Each piece goes out whole, so that a reader sees an item as soon as it is there."""

    def __init__(self, pieces: Iterator[bytes], machine: zlib._Compress) -> None:
        super().__init__(pieces)
        self._machine: zlib._Compress | None = machine
        self._waits = False  # for the next piece: all before it has been compressed

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
        """The piece, compressed; nothing where another one is being compressed, which will not be sent."""
        piece, machine = super().encode_abort_chunk(piece), self._machine
        return machine.compress(piece) + machine.flush(zlib.Z_SYNC_FLUSH) if machine and self._waits and piece else b""
