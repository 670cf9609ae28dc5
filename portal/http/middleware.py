"""Middleware around HTTP requests, on the server.

A middleware is a callable `middleware(request, call_next)`: it may answer by itself, pass the request on, and change
the response that comes back. Errors of calls have become responses by then. A list is applied in order, the first
outermost. At a deadline that passes while a function still runs, the late answer goes through the same list once more,
with `request.notes["late"]` set, so that it has the same headers as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from ..errors import ConfigError
from ..serving import Request, Response

__all__ = ["HTTPMiddleware", "HTTPNext", "When", "build_http_chain"]

HTTPNext = Callable[[Request], Response]
HTTPMiddleware = Callable[[Request, HTTPNext], Response]


def build_http_chain(middleware: Iterable[HTTPMiddleware], last: HTTPNext) -> HTTPNext:
    """The callable that runs `middleware` in order around `last`."""
    chain = last
    for layer in reversed(tuple(middleware)):
        chain = _wrap(layer, chain)
    return chain


def _wrap(layer: HTTPMiddleware, call_next: HTTPNext) -> HTTPNext:
    return lambda request: layer(request, call_next)


class When:
    """A middleware for some requests only; the others pass it by.

    Args:
        middleware: what to apply.
        path: a path prefix ("/api/orders") or a pattern with `*`, `?` or `[...]`.
        method: the request method, in any case.
        predicate: request -> whether to apply it.

    All conditions given must hold. Threads: any.
    """

    def __init__(
        self,
        middleware: HTTPMiddleware,
        *,
        path: str | None = None,
        method: str | None = None,
        predicate: Callable[[Request], bool] | None = None,
    ) -> None:
        if path is None and method is None and predicate is None:
            raise ConfigError("When has no condition", path="when", allowed="path, method or predicate")
        self._middleware = middleware
        self._path = path
        self._method = None if method is None else method.upper()
        self._predicate = predicate

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        return self._middleware(request, call_next) if self._applies(request) else call_next(request)

    def _applies(self, request: Request) -> bool:
        if self._method is not None and request.method != self._method:
            return False
        if self._path is not None and not _fits(request.path, self._path):
            return False
        return self._predicate is None or self._predicate(request)


def _fits(path: str, wanted: str) -> bool:
    if any(sign in wanted for sign in "*?["):
        return fnmatchcase(path, wanted)
    return path == wanted or path.startswith(wanted.rstrip("/") + "/")
