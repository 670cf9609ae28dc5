"""HTTPResolver: the client side of HTTP, from an address to a Function."""

from __future__ import annotations

from ..._internal.settings import instance
from ...network.resolver import RemoteResolver
from .client import HTTPClient

__all__ = ["HTTPResolver"]


class HTTPResolver(RemoteResolver):
    """Resolve http and https addresses. It opens no listener and publishes nothing.

    Args:
        http: sends the requests, with its timeouts, TLS, proxy, Unix sockets, credential and cache; None for defaults.

    Raises: ConfigError when `http` is not an HTTPClient.

    Threads: any. Fork: a child opens connections of its own.
    """

    schemes = ("http", "https")
    kind = "an HTTP address"
    base_hint = "a base address ends as in .../api"

    def __init__(self, http: HTTPClient | None = None) -> None:
        super().__init__(HTTPClient() if http is None else instance("http", http, HTTPClient))
