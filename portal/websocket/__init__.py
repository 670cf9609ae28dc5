"""The WebSocket portal: JSON-RPC 2.0 over WebSockets, in both directions, and topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .client.backoff import Reconnect
    from .client.client import WebSocketClient
    from .client.lifecycle import ConnectionState
    from .client.resolver import WebSocketResolver
    from .client.subscription import Event, Gap, Subscription
    from .deflate import Deflate
    from .portal import WebSocketPortal
    from .server.settings import WebSocketConfig
    from .topics.event import Offset, Retain
    from .topics.topic import Topic

__all__ = [
    "ConnectionState",
    "Deflate",
    "Event",
    "Gap",
    "Offset",
    "Reconnect",
    "Retain",
    "Subscription",
    "Topic",
    "WebSocketClient",
    "WebSocketConfig",
    "WebSocketPortal",
    "WebSocketResolver",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ConnectionState": "client.lifecycle",
        "Deflate": "deflate",
        "Event": "client.subscription",
        "Gap": "client.subscription",
        "Offset": "topics.event",
        "Reconnect": "client.backoff",
        "Retain": "topics.event",
        "Subscription": "client.subscription",
        "Topic": "topics.topic",
        "WebSocketClient": "client.client",
        "WebSocketConfig": "server.settings",
        "WebSocketPortal": "portal",
        "WebSocketResolver": "client.resolver",
    },
)
