"""WebSocketResolver: the client side of WebSockets, from an address to a Function or a topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..._internal.json_text import JSONValue
from ..._internal.settings import instance
from ...address import Address
from ...context import CallContext
from ...network.resolver import RemoteResolver
from .client import WebSocketClient
from .subscription import SlowReader, Subscription

__all__ = ["WebSocketResolver"]


class WebSocketResolver(RemoteResolver):
    """Resolve ws and wss addresses. It opens no listener and publishes nothing.

    Args:
        client: makes the connections, with its timeouts, TLS, proxy and credential; None for defaults.

    Raises: ConfigError when `client` is not a WebSocketClient.

    Threads: any. Fork: a child opens connections of its own.
    """

    schemes = ("ws", "wss")
    kind = "a WebSocket address"
    base_hint = "a base address ends as in .../ws"

    def __init__(self, client: WebSocketClient | None = None) -> None:
        self._client = WebSocketClient() if client is None else instance("client", client, WebSocketClient)
        super().__init__(self._client)

    def subscribe(
        self,
        address: Address | str,
        params: Mapping[str, JSONValue] | None = None,
        *,
        resume: bool = True,
        slow: SlowReader = "close",
        max_bytes: int = 1024 * 1024,
        since: tuple[str, int] | None = None,
        timeout: float | None = None,
        load: Callable[[JSONValue], Any] | None = None,
    ) -> Subscription[Any]:
        """Subscribe to the topic at an address; see `WebSocketClient.subscribe`."""
        return self._client.subscribe(
            self._checked(address),
            params,
            resume=resume,
            slow=slow,
            max_bytes=max_bytes,
            since=since,
            timeout=timeout,
            load=load,
        )

    def publish(
        self, address: Address | str, data: JSONValue, *, key: str | None = None, context: CallContext | None = None
    ) -> tuple[str, int] | None:
        """Publish data to the topic at an address; see `WebSocketClient.publish`."""
        return self._client.publish(self._checked(address), data, key=key, context=context)
