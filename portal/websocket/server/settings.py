"""WebSocketConfig: the limits and timeouts of the connections of a WebSocketPortal."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ..._internal.settings import count, instance, positive_seconds, seconds, size
from ...errors import ConfigError
from ..deflate import Deflate

__all__ = ["WebSocketConfig"]

_SECONDS = frozenset(("ping_interval", "ping_timeout", "close_timeout", "idle_timeout", "handshake_timeout"))
_MAY_BE_ZERO = frozenset(("credential_grace", "goaway_delay", "session_keep"))
_COUNTS = (
    "max_connections",
    "max_calls",
    "max_pending",
    "max_subscriptions",
    "max_all_subscriptions",
    "messages_per_second",
    "max_fragments",
    "max_lost_sessions",
)
_SIZES = (
    "max_message",
    "max_subscription_params",
    "max_queued",
    "max_batch_response",
    "max_session",
    "max_all_sessions",
)
_DAY = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class WebSocketConfig:
    """Limits and timeouts of WebSocket connections. Sizes are in bytes, times in seconds.

    The limits of the listener hold as well: connections, kept input and output, workers and their queue.

    Attributes:
        max_connections: open connections. A further handshake gets 503.
        max_connections_per_client: open connections of one identity, or of one network without a credential. A further
            handshake gets 429. None for half of `max_connections`.
        max_calls: calls of one connection that run or wait at a time. A further call gets an OverloadedError.
        max_pending: calls of the server to one client that have no response yet.
        max_subscriptions: subscriptions of one connection. A further one gets an OverloadedError.
        max_subscription_params: size of the parameters of the subscriptions of one connection, as JSON text. A further
            subscription gets an OverloadedError.
        max_subscriptions_per_client: subscriptions of one identity, or of one network without a credential, on all its
            connections. A further one gets a RateLimitError. None for half of `max_all_subscriptions`.
        max_all_subscriptions: subscriptions of all clients. A further one gets an OverloadedError.
        max_message: size of a message, also when it is decompressed. A larger one closes the connection with 1009.
        max_fragments: frames of one message. More close the connection with 1008.
        max_batch_response: size of the results of one batch. Calls of the batch beyond it get an error.
        messages_per_second: messages of one connection, pings included, averaged over a second. More close it with
            4429.
        max_queued: bytes that wait for one client before no more of its messages are read and no more events are sent
            to it.
        handshake_timeout: time in which a client must send its first credential if the handshake needs none.
        idle_timeout: time without a message and without a subscription or call after which a connection is closed with
            4408; None for no limit.
        ping_interval: time without a byte from the client after which it gets a ping.
        ping_timeout: time for its response. After that, the connection counts as lost.
        close_timeout: time for the client's part of the closing handshake.
        credential_grace: time after the expiry of a credential in which the client may renew it by rpc.authenticate.
            Then the connection is closed with 4401.
        goaway_delay: clients are asked to connect again within this time when the server stops, so that not all of them
            come at once.
        session_keep: time for which the responses of a client are kept whose connection is lost without a close frame.
            0 keeps none.
        max_session: size of the responses of one client that are kept.
        max_all_sessions: size of the responses of all clients that are kept. Beyond it, the largest sessions lose
            theirs.
        max_lost_sessions: lost connections whose responses are kept. Beyond it, the client with the most of them loses
            its oldest one.
        deflate: settings of permessage-deflate; None does not compress.

    Raises: ConfigError for a wrong setting.

    Threads: immutable.
    """

    max_connections: int = 10_000
    max_connections_per_client: int | None = None
    max_calls: int = 256
    max_pending: int = 1000
    max_subscriptions: int = 100
    max_subscription_params: int = 64 * 1024
    max_subscriptions_per_client: int | None = None
    max_all_subscriptions: int = 100_000
    max_message: int = 1024 * 1024
    max_fragments: int = 16 * 1024
    max_batch_response: int = 8 * 1024 * 1024
    messages_per_second: int = 20_000
    max_queued: int = 1024 * 1024
    handshake_timeout: float = 10.0
    idle_timeout: float | None = None
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    close_timeout: float = 2.0
    credential_grace: float = 25.0
    goaway_delay: float = 5.0
    session_keep: float = 60.0
    max_session: int = 256 * 1024
    max_all_sessions: int = 64 * 1024 * 1024
    max_lost_sessions: int = 1000
    deflate: Deflate | None = field(default_factory=Deflate)

    def __post_init__(self) -> None:
        for name in _COUNTS:
            count(f"websocket.{name}", getattr(self, name))
        for name in ("max_connections_per_client", "max_subscriptions_per_client"):
            count(f"websocket.{name}", getattr(self, name), optional=True)
        for name in _SIZES:
            size(f"websocket.{name}", getattr(self, name))
        for name in _SECONDS:
            value = getattr(self, name)
            positive_seconds(f"websocket.{name}", value, below=_DAY, optional=name == "idle_timeout")
        for name in _MAY_BE_ZERO:
            seconds(f"websocket.{name}", getattr(self, name), maximum=_DAY)
        instance("websocket.deflate", self.deflate, Deflate, optional=True)

    @property
    def connections_per_client(self) -> int:
        """The number of open connections of one client."""
        return self.max_connections_per_client or max(1, self.max_connections // 2)

    @property
    def subscriptions_per_client(self) -> int:
        """The number of subscriptions of one client."""
        return self.max_subscriptions_per_client or max(1, self.max_all_subscriptions // 2)

    @classmethod
    def development(cls, **changes: Any) -> WebSocketConfig:
        """Return a config with short timeouts, so that silent and idle clients show at once.

        Args:
            changes: fields that differ from the preset.
        Raises: ConfigError.
        """
        preset = {"max_connections": 256, "ping_interval": 5.0, "ping_timeout": 5.0, "goaway_delay": 0.0}
        return cls._preset(preset, changes)

    @classmethod
    def production(cls, **changes: Any) -> WebSocketConfig:
        """Return a config for many clients, otherwise with the defaults.

        Args:
            changes: fields that differ from the preset.
        Raises: ConfigError.
        """
        preset = {"max_connections": 20_000, "ping_interval": 30.0, "ping_timeout": 30.0, "goaway_delay": 15.0}
        return cls._preset(preset, changes)

    @classmethod
    def _preset(cls, preset: dict[str, Any], changes: dict[str, Any]) -> WebSocketConfig:
        known = [one.name for one in fields(cls)]
        for name in changes:
            if name not in known:
                words = ", ".join(known)
                raise ConfigError(f"WebSocketConfig has no setting {name}", path=f"websocket.{name}", expected=words)
        return cls(**(preset | changes))
