"""CORS: which pages of other origins may call from a browser (Fetch standard, sections 3.2 and 4.8)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable

from ...errors import AuthorizationError, ConfigError
from ...http11.fields import is_token, split_list
from ...serving import Request, Response
from .base import HTTPNext, add_vary, refusal

__all__ = ["CORS"]

_log = logging.getLogger("portal.http")
#: As browsers write it (HTML, section "Origin"): lower case, no path, no user, no default port.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_LONGEST = 512  # characters of an origin that is looked at
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}
_EXPOSED = ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "ETag", "Idempotent-Replayed")
_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-API-Key", "X-Portal-Timeout",
            "X-Request-ID", "traceparent")  # fmt: skip
_ASKED = ("Access-Control-Request-Method", "Access-Control-Request-Headers")

Origins = str | Iterable[str] | re.Pattern[str] | Callable[[str], bool]


class CORS:
    """HTTP middleware that lets pages of the origins named call, and answers their preflight requests.

    A request of another origin gets no CORS headers, its preflight is refused with 403. This keeps a page from reading
    answers and from sending what needs a preflight; it does not keep a browser from sending a simple request, so it is
    no protection against forged ones. Access to private networks is not granted (Private Network Access).

    Args:
        origins: origins as a browser writes them ("https://shop.example"; case and a default port are put right),
            "*" for all, a compiled pattern that must match the whole origin, or a callable origin -> bool. The origin
            "null" (sandboxed frames, files) may call only where it is listed by name, or all may. A callable that
            raises refuses.
        credentials: whether cookies and HTTP authentication go with the request; not together with "*".
        methods: what a page may do.
        headers: request headers that a page may set.
        expose: response headers that a page may read.
        max_age: seconds for which a browser may remember the answer to its preflight request.

    Raises: ConfigError. Threads: any.
    """

    around = "request"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        origins: Origins,
        *,
        credentials: bool = False,
        methods: str | Iterable[str] = ("GET", "HEAD", "POST"),
        headers: str | Iterable[str] = _HEADERS,
        expose: str | Iterable[str] = _EXPOSED,
        max_age: int = 600,
    ) -> None:
        self._allows = _test_of(origins)
        self._any = self._allows is None
        if not isinstance(credentials, bool) or (self._any and credentials):
            raise _wrong("credentials", credentials, "True or False, and False where any origin may call")
        self._credentials = credentials
        self._methods = tuple(dict.fromkeys(name.upper() for name in _names("methods", methods)))
        self._headers = {name.lower(): name for name in _names("headers", headers)}
        self._expose = ", ".join(_names("expose", expose))
        if isinstance(max_age, bool) or not isinstance(max_age, int) or not 0 <= max_age <= 86_400:
            raise _wrong("max_age", max_age, "whole seconds from 0 to 86400")
        self._max_age = str(max_age)

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
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
            add_vary(response, "Origin")  # also where it is refused, or absent: caches must tell origins apart
        return response

    def _allowed(self, origin: str) -> bool:
        if origin != "null" and (len(origin) > _LONGEST or not _ORIGIN.fullmatch(origin)):
            return False
        if self._allows is None:
            return True
        try:
            return bool(self._allows(origin))
        except Exception:
            _log.exception("whether the origin %s may call is not known", origin)
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
            what = "this origin" if not allowed else "this method" if method not in self._methods else "these headers"
            response = refusal(request, AuthorizationError(f"{what} may not be used from another origin"))
        add_vary(response, *_ASKED)
        return response


def _test_of(origins: Origins) -> Callable[[str], bool] | None:
    """Whether an origin may call; None where all may."""
    if isinstance(origins, re.Pattern):
        pattern = origins
        if not isinstance(pattern.pattern, str):
            raise _wrong("origins", origins, "a pattern of text")
        return lambda origin: origin != "null" and pattern.fullmatch(origin) is not None
    if callable(origins):
        asked = origins
        return lambda origin: origin != "null" and asked(origin)
    if not isinstance(origins, Iterable):
        raise _wrong("origins", origins, "origins, a pattern or a callable")
    listed = [origins] if isinstance(origins, str) else list(origins)
    if listed == ["*"]:
        return None
    return frozenset(_origin(one) for one in listed).__contains__


def _origin(given: object) -> str:
    """A listed origin as a browser writes it."""
    if given == "null":
        return "null"
    text = given.lower() if isinstance(given, str) and given.isascii() else ""
    found = _ORIGIN.fullmatch(text)
    if found is None or len(text) > _LONGEST or int(found[2] or 0) > 65_535:
        raise _wrong("origins", given, 'origins without a path, such as "https://shop.example", or "*" alone')
    scheme, port = found.groups()
    if port is None:
        return text
    host = text[: -len(port) - 1]
    return host if str(int(port)) == _DEFAULT_PORTS.get(scheme) else f"{host}:{int(port)}"


def _names(setting: str, given: str | Iterable[str]) -> list[str]:
    allowed = 'a list of names; "*" is none, since it means different things with and without credentials'
    if not isinstance(given, Iterable):
        raise _wrong(setting, given, allowed)
    names = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(name, str) and is_token(name) and name[0] != "*" for name in names):
        raise _wrong(setting, given, allowed)
    return names


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"cors.{name} is {value!r:.200}; expected: {allowed}", path=f"cors.{name}", expected=allowed)
