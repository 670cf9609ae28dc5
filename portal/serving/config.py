"""ServingConfig: every limit and wait of a listener, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .._internal.settings import instance, positive_seconds, seconds, whole_number
from ..errors import ConfigError
from .tls import TLSConfig

__all__ = ["ServingConfig"]

_SECONDS = ("head_timeout", "body_timeout", "idle_timeout", "write_timeout", "linger", "grace")
_MAX_BUSY_POLL = 0.01  # seconds
_DAY = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """Limits and waits of a listener; sizes in bytes, times in seconds.

    Attributes:
        workers: threads that run calls.
        queue: connections with a request that may wait for a worker; past it they are answered 503.
        connections: open connections; past it new ones are closed at once.
        backlog: connections that the kernel may hold before they are accepted.
        max_head: the request line and headers.
        max_headers: how many headers a request may have.
        max_target: the request's target, the "URL" without its host.
        max_body: a request body.
        head_timeout: from a request's first byte, or a TLS connection's beginning, to the end of its head.
        body_timeout: from the end of the head to the end of the body.
        idle_timeout: a connection with nothing to do.
        write_timeout: a peer that takes no more of an answer.
        linger: how long a worker waits on the connection it has just served before it parks it.
        busy_poll: how long the thread that watches looks for the next request before it sleeps, as long as requests
            usually come that fast and no worker is busy; 0 always sleeps. It halves the time of short calls that come
            one after the other, for processor time that would be idle.
        grace: how long `stop` lets running calls finish.
        socket_mode: permissions of a Unix socket's file.
        tls: certificates and rules of TLS; None serves plain HTTP.

    Raises: ConfigError, which names the setting and what is allowed. Threads: immutable.
    """

    workers: int = 16
    queue: int = 256
    connections: int = 10_000
    backlog: int = 512
    max_head: int = 32 * 1024
    max_headers: int = 100
    max_target: int = 8 * 1024
    max_body: int = 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 60.0
    write_timeout: float = 30.0
    linger: float = 0.005
    busy_poll: float = 150e-6
    grace: float = 5.0
    socket_mode: int = 0o600
    tls: TLSConfig | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            setting, value = f"serving.{field.name}", getattr(self, field.name)
            if field.name == "tls":
                instance(setting, value, TLSConfig, optional=True)
            elif field.name == "busy_poll":
                seconds(setting, value, maximum=_MAX_BUSY_POLL)
            elif field.name in _SECONDS:
                positive_seconds(setting, value, below=_DAY)
            elif field.name == "socket_mode":
                whole_number(setting, value, minimum=0, maximum=0o777)
            else:
                whole_number(setting, value, minimum=0 if field.name == "queue" else 1)

    @classmethod
    def development(cls, **changes: Any) -> ServingConfig:
        """A few workers and little patience, so that what would be slow or stuck in production shows at once.

        Args:
            changes: fields that differ from the preset.
        Raises: ConfigError.
        """
        return cls._preset({"workers": 4, "queue": 32, "connections": 256, "idle_timeout": 15.0, "grace": 0.5}, changes)

    @classmethod
    def production(cls, **changes: Any) -> ServingConfig:
        """Many connections, a deep queue, and time for running calls to finish; otherwise the defaults.

        Args:
            changes: fields that differ from the preset.
        Raises: ConfigError.
        """
        preset = {"workers": 32, "queue": 1024, "connections": 20_000, "backlog": 2048, "grace": 25.0}
        return cls._preset(preset, changes)

    @classmethod
    def _preset(cls, preset: dict[str, Any], changes: dict[str, Any]) -> ServingConfig:
        known = [field.name for field in fields(cls)]
        for name in changes:
            if name not in known:
                words = ", ".join(known)
                raise ConfigError(f"ServingConfig has no setting {name}", path=f"serving.{name}", expected=words)
        return cls(**(preset | changes))
