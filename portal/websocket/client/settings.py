"""LinkSettings: the bounds and waits of the connections of one client."""

from __future__ import annotations

from dataclasses import dataclass, field

from .backoff import Reconnect

__all__ = ["LinkSettings"]


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The bounds and waits of each connection; `WebSocketClient` checks the values.

    Attributes:
        reconnect: when a lost connection comes back.
        heartbeat: seconds of silence after which the server gets a ping; twice as many end the connection.
        max_queued: bytes that may wait to be sent before callers wait.
        max_message_size: bytes of a message to send. A longer one would end the connection for all callers.
        sessions: whether to ask the server for a session, in which calls in flight survive a lost connection.
        resume_timeout: seconds for the server's response to rpc.resume.
    """

    reconnect: Reconnect = field(default_factory=Reconnect)
    heartbeat: float | None = 20.0
    max_queued: int = 4 * 1024 * 1024
    max_message_size: int = 1024 * 1024
    sessions: bool = True
    resume_timeout: float = 5.0
