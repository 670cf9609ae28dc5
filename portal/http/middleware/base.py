"""Middleware around HTTP requests, on the server.

A middleware is a callable `middleware(request, call_next)`. It may return a response of its own, or pass the request on
and change the response. Errors of calls are responses by then. A list is applied in order: the first middleware is
outermost, sees the request first and the response last. A good order:

    [RequestLog(...), SecurityHeaders(), CORS(...), Compression()]

The log then has the final response, the responses of inner middleware have the headers of SecurityHeaders and CORS, and
Compression is next to the function. Authentication, look-up and call middleware come after all of these.

If a deadline passes while a function still runs, the timeout response goes through the same list once more, with
`request.notes["late"]` set. So it has the same headers as any other response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..._internal.closing import ClosingIterator
from ...context import new_request_id
from ...errors import PortalError
from ...http11.fields import is_request_id, split_list
from ...network.problem_response import problem_response
from ...serving import Request, Response

__all__ = ["HTTPMiddleware", "HTTPNext", "Pieces", "add_vary", "build_http_chain", "reject"]

HTTPNext = Callable[[Request], Response]
HTTPMiddleware = Callable[[Request, HTTPNext], Response]
OnError = Callable[[Request, Exception], Response]


def build_http_chain(middleware: Iterable[HTTPMiddleware], last: HTTPNext, on_error: OnError | None = None) -> HTTPNext:
    """Return a callable that runs `middleware` in order around `last`; `last` itself if the list is empty.

    Args:
        on_error: makes the response to an exception that a middleware raises, where it was raised, so that outer
            middleware gets a response and adds its headers. With None, exceptions pass through all middleware.
    """
    chain = last
    for layer in reversed(tuple(middleware)):
        chain = _wrap(layer, chain) if on_error is None else _guard(layer, chain, on_error)
    return chain


def _wrap(layer: HTTPMiddleware, call_next: HTTPNext) -> HTTPNext:
    return lambda request: layer(request, call_next)


def _guard(layer: HTTPMiddleware, call_next: HTTPNext, on_error: OnError) -> HTTPNext:
    def guarded(request: Request) -> Response:
        try:
            return layer(request, call_next)
        except Exception as error:
            return on_error(request, error)

    return guarded


class Pieces(ClosingIterator):
    """A streamed body around another one. Closing it closes the inner body, even if that was never read.

    Threads: one at a time, except `encode_abort_chunk`.
    """

    def encode_abort_chunk(self, chunk: bytes) -> bytes:
        """Return a last piece as this body sends it; see `Response.abort_chunk`. Any thread, between two pieces."""
        inner = getattr(self._items, "encode_abort_chunk", None)
        return chunk if inner is None else bytes(inner(chunk))


def add_vary(response: Response, *names: str) -> None:
    """Add request headers to Vary; the response then has one Vary header that names each of them once.

    Source: RFC 9110 section 12.5.5.
    """
    rows = response.headers
    if "\nvary\n" not in "\n{}\n".format("\n".join(dict(rows))).lower():
        response.headers = [*rows, ("Vary", ", ".join(names))]
        return
    known = [one for name, value in rows if name.lower() == "vary" for one in split_list(value)]
    seen = {name.lower() for name in known}
    known += [name for name in names if name.lower() not in seen]
    value = "*" if "*" in known else ", ".join(known)
    response.headers = [row for row in rows if row[0].lower() != "vary"] + [("Vary", value)]


def reject(request: Request, error: PortalError) -> Response:
    """Return the response of a middleware that rejects a request, and note the error's code for the request log."""
    given = request.headers.get("x-request-id", "")
    request.notes["code"] = error.code
    return problem_response(error, given if is_request_id(given) else new_request_id())
