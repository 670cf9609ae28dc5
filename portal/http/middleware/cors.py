"""CORS: which pages of other origins may call from a browser.

Source: Fetch standard, sections 3.2 and 4.8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ..._internal.log import get_logger
from ..._internal.settings import flag, require, whole_number
from ...errors import AuthorizationError
from ...http11.fields import is_token, split_list
from ...serving import Request, Response
from .base import HTTPNext, add_vary, reject

__all__ = ["CORS"]

_log = get_logger("portal.http")
#: The form that browsers send (HTML, section "Origin"): lower case; no path, user or default port.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_MAX_ORIGIN = 512  # characters; longer origins are rejected
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}
_EXPOSE = ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "ETag", "Idempotent-Replayed")
_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-API-Key", "X-Portal-Timeout",
            "X-Request-ID", "traceparent", "tracestate")  # fmt: skip
_REQUEST_HEADERS = ("Access-Control-Request-Method", "Access-Control-Request-Headers")

Origins = str | Iterable[str] | re.Pattern[str] | Callable[[str], bool]


class CORS:
    """HTTP middleware that allows pages of some other origins to call, and responds to their preflight requests.

    A request of any other origin gets no CORS headers, and its preflight request is rejected with 403. This keeps pages
    from reading responses, and from sending requests that need a preflight. It does not keep a browser from sending
    simple requests, so it does not protect against forged ones. Private Network Access is not granted.

    Args:
        origins: origins such as "https://shop.example" (case and a default port are normalized); "*" for all; a
            compiled pattern that must match the whole origin; or a callable (origin) -> bool. The origin "null"
            (sandboxed frames, files) is allowed only if it is listed by name or all origins are. If the callable
            raises an exception, the origin is rejected.
        credentials: whether cookies and HTTP authentication are sent with the request; not together with "*".
        methods: methods that a page may use.
        headers: request headers that a page may set.
        expose: response headers that a page may read.
        max_age: seconds for which a browser may cache the response to a preflight request; at most a day.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    around = "request"  # the kind of middleware; see `resolve_middleware`
    guards_authentication = False  # see `early_authentication`

    def __init__(
        self,
        origins: Origins,
        *,
        credentials: bool = False,
        methods: str | Iterable[str] = ("GET", "HEAD", "POST"),
        headers: str | Iterable[str] = _HEADERS,
        expose: str | Iterable[str] = _EXPOSE,
        max_age: int = 600,
    ) -> None:
        self._allows = _test_of(origins)
        self._any = self._allows is None
        flag("cors.credentials", credentials)
        require(not (self._any and credentials), "cors.credentials", credentials, "False where all origins may call")
        self._credentials = credentials
        self._methods = tuple(dict.fromkeys(name.upper() for name in _names("methods", methods)))
        self._headers = {name.lower(): name for name in _names("headers", headers)}
        self._expose = ", ".join(_names("expose", expose))
        whole_number("cors.max_age", max_age, minimum=0, maximum=86_400, unit="a whole number of seconds")
        self._max_age = str(max_age)

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        """Respond to a preflight request, or pass the request on and add the CORS headers to its response."""
        origin = request.headers.get("origin")
        preflight = request.method == "OPTIONS" and "access-control-request-method" in request.headers
        allowed = origin is not None and self._allowed(origin)
        response = self._preflight(request, allowed) if preflight and origin is not None else call_next(request)
        if allowed:
            assert origin is not None
            response.headers = [*response.headers, ("Access-Control-Allow-Origin", "*" if self._any else origin)]
            if self._credentials:
                response.headers.append(("Access-Control-Allow-Credentials", "true"))
            if not preflight and self._expose:
                response.headers.append(("Access-Control-Expose-Headers", self._expose))
        if not self._any:
            add_vary(response, "Origin")  # also if the origin is rejected or absent: caches must distinguish origins
        return response

    def _allowed(self, origin: str) -> bool:
        if origin != "null" and (len(origin) > _MAX_ORIGIN or not _ORIGIN.fullmatch(origin)):
            return False
        if self._allows is None:
            return True
        try:
            return bool(self._allows(origin))
        except Exception:
            _log.exception("CORS: the callable that allows origins failed: origin=%s", origin)
            return False

    def _preflight(self, request: Request, allowed: bool) -> Response:
        method = request.headers["access-control-request-method"]
        asked = request.headers.get("access-control-request-headers", "")
        names = split_list(asked.lower())
        if allowed and method in self._methods and all(name in self._headers for name in names):
            headers = [
                ("Access-Control-Allow-Methods", ", ".join(self._methods)),
                ("Access-Control-Max-Age", self._max_age),
            ]
            if names:
                granted = ", ".join(self._headers[name] for name in dict.fromkeys(names))
                headers.append(("Access-Control-Allow-Headers", granted))
            response = Response(204, headers)
        else:
            what = "origin" if not allowed else "method" if method not in self._methods else "headers"
            response = reject(request, AuthorizationError(f"CORS does not allow the {what} of this request"))
        add_vary(response, *_REQUEST_HEADERS)
        return response


def _test_of(origins: Origins) -> Callable[[str], bool] | None:
    """Return the predicate of allowed origins, or None if all are allowed."""
    if isinstance(origins, re.Pattern):
        pattern = origins
        require(isinstance(pattern.pattern, str), "cors.origins", origins, "a pattern of str, not of bytes")
        return lambda origin: origin != "null" and pattern.fullmatch(origin) is not None
    if callable(origins):
        asked = origins
        return lambda origin: origin != "null" and asked(origin)
    require(isinstance(origins, Iterable), "cors.origins", origins, "origins, a pattern or a callable")
    listed = [origins] if isinstance(origins, str) else list(origins)
    if listed == ["*"]:
        return None
    return frozenset(_origin(one) for one in listed).__contains__


def _origin(given: object) -> str:
    """Return a listed origin in the form that browsers send."""
    if given == "null":
        return "null"
    text = given.lower() if isinstance(given, str) and given.isascii() else ""
    found = _ORIGIN.fullmatch(text)
    ok = found is not None and len(text) <= _MAX_ORIGIN and int(found[2] or 0) <= 65_535
    require(ok, "cors.origins", given, 'origins without a path, such as "https://shop.example", or "*" alone')
    assert found is not None
    scheme, port = found.groups()
    if port is None:
        return text
    host = text[: -len(port) - 1]
    return host if str(int(port)) == _DEFAULT_PORTS.get(scheme) else f"{host}:{int(port)}"


def _names(setting: str, given: str | Iterable[str]) -> list[str]:
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    # "*" has a different meaning with credentials than without.
    ok = all(isinstance(name, str) and is_token(name) and name[0] != "*" for name in names)
    require(ok, f"cors.{setting}", given, 'a list of names, not "*"')
    return names
