"""SecurityHeaders: response headers that tell browsers to be careful (OWASP Secure Headers; RFC 6797)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...errors import ConfigError
from ...http11.fields import is_field_content
from ...serving import Request, Response
from .base import HTTPNext

__all__ = ["SecurityHeaders"]

_FRAME_OPTIONS = ("DENY", "SAMEORIGIN", "")
#: Referrer Policy, section 3.
_REFERRER_POLICIES = ("no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin",
                      "strict-origin", "strict-origin-when-cross-origin", "unsafe-url", "")  # fmt: skip


class SecurityHeaders:
    """HTTP middleware that adds headers to every response; one that is there already stays as it is.

    Args:
        hsts: seconds for which a browser must use https only; sent over TLS only; 0 leaves it out.
        subdomains: whether that holds for every name below the host, too.
        csp: Content-Security-Policy; the default suits answers that are data; "" leaves it out.
        frame_options: X-Frame-Options, "DENY" or "SAMEORIGIN"; "" leaves it out.
        referrer_policy: Referrer-Policy, one of its words; "" leaves it out.
        nosniff: X-Content-Type-Options.

    Raises: ConfigError. Threads: any.
    """

    around = "request"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        *,
        hsts: int = 31_536_000,
        subdomains: bool = False,
        csp: str = "default-src 'none'; frame-ancestors 'none'",
        frame_options: str = "DENY",
        referrer_policy: str = "no-referrer",
        nosniff: bool = True,
    ) -> None:
        _require("hsts", hsts, type(hsts) is int and 0 <= hsts < 1 << 31, "whole seconds, 0 or more")
        _require("subdomains", subdomains, isinstance(subdomains, bool), "True or False")
        one_line = isinstance(csp, str) and csp.isascii() and (not csp or is_field_content(csp) is not None)
        _require("csp", csp, one_line, "one line of ASCII text")
        _require("frame_options", frame_options, frame_options in _FRAME_OPTIONS, "DENY, SAMEORIGIN or nothing")
        words = ", ".join(_REFERRER_POLICIES[:-1])
        _require("referrer_policy", referrer_policy, referrer_policy in _REFERRER_POLICIES, f"{words} or nothing")
        _require("nosniff", nosniff, isinstance(nosniff, bool), "True or False")
        given = {
            "Content-Security-Policy": csp,
            "X-Frame-Options": frame_options,
            "Referrer-Policy": referrer_policy,
            "X-Content-Type-Options": "nosniff" if nosniff else "",
        }
        self._plain = _rows(given)
        strict = f"max-age={hsts}{'; includeSubDomains' if subdomains else ''}" if hsts else ""
        self._secure = _rows({**given, "Strict-Transport-Security": strict})

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        response = call_next(request)
        given = response.headers
        rows = self._secure if getattr(request, "secure", False) else self._plain
        response.headers = [*given, *_missing(rows, tuple(dict(given)))]
        return response


_Rows = tuple[tuple[str, tuple[str, str]], ...]


@lru_cache(maxsize=256)  # answers have few sets of headers
def _missing(rows: _Rows, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    present = {name.lower() for name in names}
    return tuple(row for key, row in rows if key not in present)


def _rows(given: dict[str, str]) -> _Rows:
    return tuple((name.lower(), (name, value)) for name, value in given.items() if value)


def _require(name: str, value: Any, fits: bool, allowed: str) -> None:
    if not fits:
        path = f"security_headers.{name}"
        raise ConfigError(f"{path} is {value!r}; expected: {allowed}", path=path, expected=allowed)
