"""OriginCheck: which web pages may connect.

A browser sends the cookies of a user with every handshake, and its same-origin policy does not cover WebSockets. So the
server looks at the Origin header. Clients that are not browsers send none.

Source: RFC 6455 section 10.2; RFC 6454 section 4 for the comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ..._internal.settings import require
from ...errors import ConfigError

__all__ = ["OriginCheck", "Origins"]

#: None for pages of the server's own origin, "*" for all pages, a list of origins, or a test of an origin.
Origins = Iterable[str] | Callable[[str], bool] | None

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^/:?#@\s\[\]]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_PORTS = {"http": "80", "https": "443"}
_EXPECTED = 'origins such as "https://shop.example", "*" for all, a callable, or None for the same origin'


class OriginCheck:
    """Decides whether a handshake may come from a page of an origin.

    Args:
        origins: see `Origins`.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    def __init__(self, origins: Origins = None) -> None:
        self._allows: Callable[[str], bool] | None = None
        self._listed: frozenset[str] | None = None
        self._all = False
        if callable(origins):
            self._allows = origins
        elif origins is not None:
            self._listed = frozenset(map(_listed, _listed_names(origins)))
            self._all = "*" in self._listed

    def accepts(self, origin: str | None, host: str | None, secure: bool) -> bool:
        """Return whether a handshake is accepted.

        Args:
            origin: value of the Origin header, or None.
            host: value of the Host header, or None.
            secure: whether the client uses TLS.
        Raises: what the callable raises.
        """
        if origin is None or self._all:
            return True
        if self._allows is not None:
            return bool(self._allows(origin))
        normal = _normal(origin)
        if normal is None:  # also "null", of pages without an origin
            return False
        if self._listed is not None:
            return normal in self._listed
        return host is not None and normal == _normal(f"{'https' if secure else 'http'}://{host}")


def _listed_names(origins: Iterable[str]) -> tuple[str, ...]:
    if isinstance(origins, str):
        if origins == "*":
            return ("*",)
        raise ConfigError.invalid("websocket.origins", origins, _EXPECTED)
    require(isinstance(origins, Iterable), "websocket.origins", origins, _EXPECTED)
    return tuple(origins)


def _listed(origin: object) -> str:
    normal = origin if origin == "*" else _normal(origin) if isinstance(origin, str) else None
    if not isinstance(normal, str):
        raise ConfigError.invalid("websocket.origins", origin, _EXPECTED)
    return normal


def _normal(origin: str) -> str | None:
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return None
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    return f"{scheme}://{host}" if port is None or port == _PORTS.get(scheme) else f"{scheme}://{host}:{port}"
