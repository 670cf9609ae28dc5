"""SecurityHeaders: response headers that tell browsers to be careful (OWASP Secure Headers; RFC 6797)."""

from __future__ import annotations

from ..errors import ConfigError
from ..serving import Request, Response
from .middleware import HTTPNext

__all__ = ["SecurityHeaders"]


class SecurityHeaders:
    """HTTP middleware that adds headers to every response; one that is there already stays as it is.

    Args:
        hsts: seconds for which a browser must use https only; sent over TLS only; 0 leaves it out.
        csp: Content-Security-Policy; the default suits answers that are data; "" leaves it out.
        frame_options: X-Frame-Options.
        referrer_policy: Referrer-Policy.
        nosniff: X-Content-Type-Options.

    Threads: any.
    """

    def __init__(
        self,
        *,
        hsts: int = 31_536_000,
        csp: str = "default-src 'none'; frame-ancestors 'none'",
        frame_options: str = "DENY",
        referrer_policy: str = "no-referrer",
        nosniff: bool = True,
    ) -> None:
        if isinstance(hsts, bool) or not isinstance(hsts, int) or hsts < 0:
            raise ConfigError(f"hsts is {hsts!r}", path="security_headers.hsts", allowed="whole seconds, 0 or more")
        given = {
            "Content-Security-Policy": csp,
            "X-Frame-Options": frame_options,
            "Referrer-Policy": referrer_policy,
            "X-Content-Type-Options": "nosniff" if nosniff else "",
        }
        for name, value in given.items():
            if not value.isprintable():
                raise ConfigError(f"{name} is {value!r}", path="security_headers", allowed="one line of text")
        self._headers = [(name, value) for name, value in given.items() if value]
        self._hsts = f"max-age={hsts}; includeSubDomains" if hsts else ""

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        response = call_next(request)
        present = {name.lower() for name, _ in response.headers}
        response.headers.extend(row for row in self._headers if row[0].lower() not in present)
        if self._hsts and request.secure and "strict-transport-security" not in present:
            response.headers.append(("Strict-Transport-Security", self._hsts))
        return response
