"""CORS: which pages of other origins may call from a browser (Fetch standard, sections 3.2 and 4.8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ..errors import ConfigError
from ..serving import Request, Response
from .middleware import HTTPNext

__all__ = ["CORS"]

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s,;]+|null")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_EXPOSED = ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "ETag", "Idempotent-Replayed")
_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-API-Key", "X-Portal-Timeout",
            "X-Request-ID", "traceparent")  # fmt: skip


class CORS:
    """HTTP middleware that lets pages of the origins named call, and answers their preflight requests.

    Args:
        origins: origins as a browser writes them ("https://shop.example"), "*" for all, a compiled pattern that must
            match the whole origin, or a callable origin -> bool.
        credentials: whether cookies and HTTP authentication go with the request; not together with "*".
        methods: what a page may do.
        headers: request headers that a page may set.
        expose: response headers that a page may read.
        max_age: seconds for which a browser may remember the answer to its preflight request.

    Raises: ConfigError. Threads: any.
    """

    def __init__(
        self,
        origins: str | Iterable[str] | re.Pattern[str] | Callable[[str], bool],
        *,
        credentials: bool = False,
        methods: Iterable[str] = ("GET", "HEAD", "POST"),
        headers: Iterable[str] = _HEADERS,
        expose: Iterable[str] = _EXPOSED,
        max_age: int = 600,
    ) -> None:
        self._any = origins == "*"
        if self._any and credentials:
            raise _wrong("credentials", "False where any origin may call")
        self._allows = _test_of(origins)
        self._credentials = credentials
        self._methods = {method.upper() for method in methods}
        self._headers = {header.lower(): header for header in headers}
        self._expose = ", ".join(expose)
        for name in (*self._methods, *self._headers, *(part for part in self._expose.split(", ") if part)):
            if not _TOKEN.fullmatch(name):
                raise _wrong("headers", "names of headers and methods")
        if isinstance(max_age, bool) or not isinstance(max_age, int) or not 0 <= max_age <= 86_400:
            raise _wrong("max_age", "whole seconds from 0 to 86400")
        self._max_age = str(max_age)

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        origin = request.headers.get("origin")
        preflight = request.method == "OPTIONS" and "access-control-request-method" in request.headers
        if origin is None and not preflight:
            response = call_next(request)
            if not self._any:
                response.headers.append(("Vary", "Origin"))
            return response
        allowed = origin is not None and _ORIGIN.fullmatch(origin) is not None and self._allows(origin)
        response = self._preflight(request, allowed) if preflight and origin is not None else call_next(request)
        if allowed:
            assert origin is not None
            response.headers.append(("Access-Control-Allow-Origin", "*" if self._any else origin))
            if self._credentials:
                response.headers.append(("Access-Control-Allow-Credentials", "true"))
            if not preflight and self._expose:
                response.headers.append(("Access-Control-Expose-Headers", self._expose))
        if not self._any:
            response.headers.append(("Vary", "Origin"))  # also where it is refused: caches must tell origins apart
        return response

    def _preflight(self, request: Request, allowed: bool) -> Response:
        method = request.headers["access-control-request-method"]
        asked = request.headers.get("access-control-request-headers", "")
        names = [name.strip().lower() for name in asked.split(",") if name.strip()]
        if not allowed or method not in self._methods or any(name not in self._headers for name in names):
            return Response(403, [("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")])
        headers = [
            ("Access-Control-Allow-Methods", ", ".join(sorted(self._methods))),
            ("Access-Control-Max-Age", self._max_age),
            ("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]
        if names:
            headers.append(("Access-Control-Allow-Headers", ", ".join(self._headers[name] for name in names)))
        return Response(204, headers)


def _test_of(origins: str | Iterable[str] | re.Pattern[str] | Callable[[str], bool]) -> Callable[[str], bool]:
    if origins == "*":
        return lambda origin: True
    if isinstance(origins, re.Pattern):
        pattern = origins
        return lambda origin: pattern.fullmatch(origin) is not None
    if callable(origins):
        return origins
    listed = {origins} if isinstance(origins, str) else set(origins)
    for origin in listed:
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise _wrong("origins", 'origins without a path, in lower case, such as "https://shop.example", or "*"')
    return listed.__contains__


def _wrong(name: str, allowed: str) -> ConfigError:
    return ConfigError(f"cors.{name} cannot be this; allowed: {allowed}", path=f"cors.{name}", allowed=allowed)
