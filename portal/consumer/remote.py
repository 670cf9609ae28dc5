"""The built-in resolvers of servers, with the settings of a Consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.settings import instance
from ..auth.credentials import Credential
from ..cache.response_cache import ResponseCache
from ..portal import Resolver

if TYPE_CHECKING:
    from ..http.client.client import HTTPClient
    from ..websocket.client.client import WebSocketClient

__all__ = ["RemoteResolvers"]


class RemoteResolvers:
    """Makes the resolvers of http, https, ws, wss and dask.

    Args:
        credential, cache: used by clients that have none of their own.
        timeout: seconds for a call without a deadline.

    Threads: any.
    """

    def __init__(self, credential: Credential | None, cache: ResponseCache | None, timeout: float | None) -> None:
        self._credential = credential
        self._cache = cache
        self._timeout = timeout

    def configured(self, http: HTTPClient | None, websocket: WebSocketClient | None) -> list[Resolver]:
        """Return the resolvers of the clients that were given. Raises: ConfigError."""
        given: list[Resolver] = [] if http is None else [self.http(http)]
        return given if websocket is None else [*given, self.websocket(websocket)]

    def make(self, scheme: str) -> Resolver | None:
        """Return a new resolver of a scheme, or None for another scheme."""
        if scheme in ("http", "https"):
            return self.http()
        if scheme == "dask":
            from ..cluster.resolver import DaskResolver

            return DaskResolver(timeout=self._timeout)
        return self.websocket() if scheme in ("ws", "wss") else None

    def http(self, client: HTTPClient | None = None) -> Resolver:
        """Return a resolver of http and https."""
        from ..http.client.client import HTTPClient
        from ..http.client.resolver import HTTPResolver

        client = instance("consumer.http", client, HTTPClient, optional=True) or HTTPClient(timeout=self._timeout)
        return HTTPResolver(client.with_credentials(self._credential, self._cache))

    def websocket(self, client: WebSocketClient | None = None) -> Resolver:
        """Return a resolver of ws and wss."""
        from ..websocket.client.client import WebSocketClient
        from ..websocket.client.resolver import WebSocketResolver

        given = instance("consumer.websocket", client, WebSocketClient, optional=True)
        client = given or WebSocketClient(timeout=self._timeout)
        return WebSocketResolver(client.with_credentials(self._credential, self._cache))
