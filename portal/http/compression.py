"""Compression: gzip and deflate both ways, with a bound on what a small body may become (RFC 9110 section 8.4)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache

from ..errors import ConfigError, ProtocolError
from ..serving import Request, Response
from ..serving.answer import problem
from .codec import PROBLEM
from .middleware import HTTPNext

__all__ = ["Compression", "choose_coding", "decompress"]

#: zlib's window: 31 is gzip, 15 the zlib format that HTTP calls deflate.
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_CODINGS = "gzip, deflate"


@lru_cache(maxsize=256)
def choose_coding(accept_encoding: str) -> str | None:
    """The coding to answer in, "gzip" or "deflate", or None (RFC 9110 section 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, *options = (piece.strip() for piece in part.split(";"))
        weight = next((option[2:] for option in options if option.startswith("q=")), "1")
        weights[name] = float(weight) if weight.replace(".", "", 1).isdigit() else 0.0
    other = weights.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda name: weights.get(name, other))
    weight_of_best = weights.get(best, other)
    plain = weights.get("identity", 0.0)
    return best if weight_of_best > 0 and weight_of_best >= plain else None


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """The body that `coding` was applied to.

    Raises: ProtocolError: 413 when it is longer than `limit`, 400 for what is not of this coding or is followed by
        something else, 415 for a coding that is not known.
    """
    window = _WINDOWS.get(coding.strip().lower())
    if window is None:
        raise ProtocolError(f"Content-Encoding is {coding[:40]!r}; known: {_CODINGS}", status=415)
    machine = zlib.decompressobj(window)
    try:
        data = machine.decompress(body, limit + 1)
    except zlib.error:
        raise ProtocolError(f"the body is no {coding[:40]}") from None
    if len(data) > limit:
        raise ProtocolError(f"the body is longer than {limit} bytes once it is decompressed", status=413)
    if not machine.eof or machine.unused_data:
        raise ProtocolError(f"the body is no whole {coding[:40]}")
    return data


class Compression:
    """HTTP middleware that reads compressed requests and compresses answers for clients that ask for it.

    An answer that holds a secret beside text of an attacker's choice should not be compressed over TLS (the BREACH
    attack): leave such functions out with `When`.

    Args:
        minimum: bytes from which an answer is worth compressing.
        level: zlib's, 1 (fast) to 9 (small).
        max_decompressed: bytes that a request's body may become.

    Threads: any.
    """

    def __init__(self, *, minimum: int = 1024, level: int = 6, max_decompressed: int = 8 * 1024 * 1024) -> None:
        for name, value, least, most in (
            ("minimum", minimum, 0, 1 << 40),
            ("level", level, 1, 9),
            ("max_decompressed", max_decompressed, 1, 1 << 40),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                allowed = f"a whole number from {least} to {most}"
                raise ConfigError(f"compression.{name} is {value!r}", path=f"compression.{name}", allowed=allowed)
        self._minimum = minimum
        self._level = level
        self._limit = max_decompressed

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        coding = request.headers.get("content-encoding", "identity")
        if coding.strip().lower() != "identity" and not request.notes.get("late"):
            try:
                request.body = decompress(request.body, coding, self._limit)
            except ProtocolError as error:
                return _refusal(error)
        return self._compress(request, call_next(request))

    def _compress(self, request: Request, response: Response) -> Response:
        headers = {name.lower() for name, _ in response.headers}
        body = response.body
        if response.status in (204, 304) or response.status < 200 or "content-encoding" in headers:
            return response
        if isinstance(body, bytes) and len(body) < self._minimum:
            return response
        response.headers.append(("Vary", "Accept-Encoding"))
        coding = choose_coding(request.headers.get("accept-encoding", ""))
        if coding is None:
            return response
        rows = response.headers
        response.headers = [(name, _weak(value) if name.lower() == "etag" else value) for name, value in rows]
        response.headers.append(("Content-Encoding", coding))
        machine = zlib.compressobj(self._level, zlib.DEFLATED, _WINDOWS[coding])
        if isinstance(body, bytes):
            response.body = machine.compress(body) + machine.flush()
        else:
            response.body = _compressed(body, machine)
        return response


def _compressed(pieces: Iterator[bytes], machine: zlib._Compress) -> Iterator[bytes]:
    """Each piece goes out whole, so that a reader sees an item as soon as it is there."""
    try:
        for piece in pieces:
            yield machine.compress(piece) + machine.flush(zlib.Z_SYNC_FLUSH)
        yield machine.flush()
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _weak(etag: str) -> str:
    return etag if etag.startswith("W/") else f"W/{etag}"  # the same answer, but not the same bytes


def _refusal(error: ProtocolError) -> Response:
    from ..context import new_request_id

    request_id = new_request_id()
    headers = [("Content-Type", PROBLEM), ("X-Request-ID", request_id)]
    if error.status == 415:
        headers.append(("Accept-Encoding", _CODINGS))
    return Response(error.status, headers, problem(error.status, str(error), request_id))
