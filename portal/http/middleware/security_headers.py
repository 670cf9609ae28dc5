"""SecurityHeaders: response headers that restrict what browsers do with a response.

Sources: OWASP Secure Headers Project; RFC 6797.
"""

from __future__ import annotations

from functools import lru_cache

from ..._internal.settings import choice, flag, require, whole_number
from ...http11.fields import is_field_content
from ...serving import Request, Response
from .base import HTTPNext

__all__ = ["SecurityHeaders"]

_FRAME_OPTIONS = ("DENY", "SAMEORIGIN", "")
#: Referrer Policy, section 3.
_REFERRER_POLICIES = ("no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin",
                      "strict-origin", "strict-origin-when-cross-origin", "unsafe-url", "")  # fmt: skip


class SecurityHeaders:
    """HTTP middleware that adds headers to every response. A header that the response has already is kept.

    Args:
        hsts: seconds for which a browser must use https; sent over TLS only. 0 omits the header.
        subdomains: whether HSTS applies to all subdomains of the host, too.
        csp: Content-Security-Policy; the default suits responses that are data. "" omits the header.
        frame_options: X-Frame-Options, "DENY" or "SAMEORIGIN". "" omits the header.
        referrer_policy: Referrer-Policy, one of the policies of the standard. "" omits the header.
        nosniff: whether to send `X-Content-Type-Options: nosniff`.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    around = "request"  # the kind of middleware; see `resolve_middleware`
    guards_authentication = False  # see `early_authentication`

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
        whole_number("security_headers.hsts", hsts, minimum=0, maximum=(1 << 31) - 1, unit="a whole number of seconds")
        flag("security_headers.subdomains", subdomains)
        one_line = isinstance(csp, str) and csp.isascii() and (not csp or is_field_content(csp) is not None)
        require(one_line, "security_headers.csp", csp, "one line of ASCII text")
        choice("security_headers.frame_options", frame_options, _FRAME_OPTIONS)
        choice("security_headers.referrer_policy", referrer_policy, _REFERRER_POLICIES)
        flag("security_headers.nosniff", nosniff)
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
        """Pass the request on and add the headers to its response."""
        response = call_next(request)
        given = response.headers
        rows = self._secure if getattr(request, "secure", False) else self._plain
        response.headers = [*given, *_missing(rows, tuple(dict(given)))]
        return response


_Rows = tuple[tuple[str, tuple[str, str]], ...]


@lru_cache(maxsize=256)  # responses have few different sets of header names
def _missing(rows: _Rows, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    present = {name.lower() for name in names}
    return tuple(row for key, row in rows if key not in present)


def _rows(given: dict[str, str]) -> _Rows:
    return tuple((name.lower(), (name, value)) for name, value in given.items() if value)
