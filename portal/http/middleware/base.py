"""Middleware around HTTP requests, on the server.

A middleware is a callable `middleware(request, call_next)`: it may answer by itself, pass the request on, and change
the response that comes back. Errors of calls have become responses by then. A list is applied in order, the first
outermost: it sees the request first and the response last, in its final form. One that works:

    [RequestLog(...), SecurityHeaders(), CORS(...), Compression()]

The log sees what is really sent, headers and permissions also stand on the answers of those behind them, and
compression is nearest to the function. Authentication, look-up and call middleware come after all of these.

At a deadline that passes while a function still runs, the late answer goes through the same list once more, with
`request.notes["late"]` set, so that it has the same headers as any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from functools import lru_cache
from urllib.parse import unquote

from ..._internal.json_text import encode_json
from ...context import new_request_id
from ...errors import ConfigError, PortalError
from ...http11.fields import is_request_id, split_list
from ...serving import Request, Response
from ..messages.problem import PROBLEM, problem_of

__all__ = ["HTTPMiddleware", "HTTPNext", "Pieces", "When", "add_vary", "build_http_chain", "refusal"]

HTTPNext = Callable[[Request], Response]
HTTPMiddleware = Callable[[Request, HTTPNext], Response]
Refuse = Callable[[Request, Exception], Response]


def build_http_chain(middleware: Iterable[HTTPMiddleware], last: HTTPNext, refuse: Refuse | None = None) -> HTTPNext:
    """The callable that runs `middleware` in order around `last`; `last` itself when there is none.

    Args:
        refuse: the response to an exception that a middleware raises, made where it was raised, so that those around
            it see a response and add their headers. None lets exceptions through all of them.
    """
    chain = last
    for layer in reversed(tuple(middleware)):
        chain = _wrap(layer, chain) if refuse is None else _guard(layer, chain, refuse)
    return chain


def _wrap(layer: HTTPMiddleware, call_next: HTTPNext) -> HTTPNext:
    return lambda request: layer(request, call_next)


def _guard(layer: HTTPMiddleware, call_next: HTTPNext, refuse: Refuse) -> HTTPNext:
    def guarded(request: Request) -> Response:
        try:
            return layer(request, call_next)
        except Exception as error:
            return refuse(request, error)

    return guarded


class When:
    """A middleware for some requests only; the others pass it by.

    Args:
        middleware: what to apply.
        path: a path ("/api/orders") with all that is below it, or a pattern with `*` (slashes, too), `?` or `[...]`,
            likewise with what is below. Compared is what the path means: percent-encoding, empty segments and an
            "@version" at the end make no difference.
        function: the function's name, as the path has it: its last segment, or the last but one where an id follows.
            What a JSON-RPC body calls is not known here; `portal.calls.conditional.OnlyFor` knows it.
        method: the request method, in any case.
        predicate: request -> whether to apply it.

    All conditions given must hold. A predicate that raises makes the request fail. Threads: any. `close` closes the
    middleware, if it can be.
    """

    around = "request"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        middleware: HTTPMiddleware,
        *,
        path: str | None = None,
        function: str | None = None,
        method: str | None = None,
        predicate: Callable[[Request], bool] | None = None,
    ) -> None:
        if not callable(middleware):
            raise _wrong("middleware", middleware, "a callable (request, call_next) -> response")
        if path is None and function is None and method is None and predicate is None:
            raise _wrong("condition", None, "path, function, method or predicate")
        for name, value in (("path", path), ("function", function), ("method", method)):
            if value is not None and (not isinstance(value, str) or not value):
                raise _wrong(name, value, "text that is not empty")
        if path is not None and not path.startswith(("/", "*")):
            raise _wrong("path", path, 'a path or pattern that begins with "/" or "*"')
        if predicate is not None and not callable(predicate):
            raise _wrong("predicate", predicate, "a callable request -> bool")
        self._middleware = middleware
        self._fits = None if path is None else _path_test(path)
        self._function = function
        self._method = None if method is None else method.upper()
        self._predicate = predicate

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        return self._middleware(request, call_next) if self._applies(request) else call_next(request)

    def _applies(self, request: Request) -> bool:
        if self._method is not None and request.method != self._method:
            return False
        if self._fits is not None or self._function is not None:
            segments = _segments(request.path)
            if self._fits is not None and not self._fits("/" + "/".join(segments)):
                return False
            if self._function is not None and self._function not in segments[-2:]:
                return False
        return self._predicate is None or self._predicate(request)

    def close(self) -> None:
        """Close the middleware, if it can be."""
        close = getattr(self._middleware, "close", None)
        if close is not None:
            close()


def _read_segments(path: str) -> tuple[str, ...]:
    """The segments as look-up reads them, so that no other spelling of a path goes around a condition."""
    segments = [unquote(segment) for segment in path.split("/") if segment]
    if segments:
        segments[-1] = segments[-1].partition("@")[0] or segments[-1]
    return tuple(segments)


_known_segments = lru_cache(maxsize=1024)(_read_segments)


def _segments(path: str) -> tuple[str, ...]:
    return (_known_segments if len(path) <= 256 else _read_segments)(path)


def _path_test(wanted: str) -> Callable[[str], bool]:
    prefix = wanted.rstrip("/")
    if any(sign in wanted for sign in "*?["):
        exact, below = (re.compile(translate(one)) for one in (wanted, f"{prefix}/*"))
        return lambda path: bool(exact.match(path) or below.match(path))
    return lambda path: path in (wanted, prefix) or path.startswith(f"{prefix}/")


class Pieces:
    """A streamed body around another one, which is closed with it, begun or not. One thread at a time, but `last`."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def last(self, piece: bytes) -> bytes:
        """A last piece as this body sends it, from another thread while the next is waited for; see `Response.last`."""
        inner = getattr(self._pieces, "last", None)
        return piece if inner is None else bytes(inner(piece))

    def close(self) -> None:
        """End the stream."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def add_vary(response: Response, *names: str) -> None:
    """Say that the answer depends on these request headers (RFC 9110 section 12.5.5); one Vary header, each once."""
    rows = response.headers
    if "\nvary\n" not in "\n{}\n".format("\n".join(dict(rows))).lower():
        response.headers = [*rows, ("Vary", ", ".join(names))]
        return
    known = [one for name, value in rows if name.lower() == "vary" for one in split_list(value)]
    seen = {name.lower() for name in known}
    known += [name for name in names if name.lower() not in seen]
    value = "*" if "*" in known else ", ".join(known)
    response.headers = [row for row in rows if row[0].lower() != "vary"] + [("Vary", value)]


def refusal(request: Request, error: PortalError) -> Response:
    """The answer of a middleware that refuses a request: a problem document (RFC 9457), and its code in the notes."""
    given = request.headers.get("x-request-id", "")
    request_id = given if is_request_id(given) else new_request_id()
    error.with_context(request_id=request_id)
    request.notes["code"] = error.code
    body = encode_json(problem_of(error, debug=False))
    return Response(error.status, [("Content-Type", PROBLEM), ("X-Request-ID", request_id)], body)


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"when.{name} is {value!r}; expected: {allowed}", path=f"when.{name}", expected=allowed)
