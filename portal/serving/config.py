"""ServingConfig: every limit and wait of a listener, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import ConfigError

__all__ = ["ServingConfig"]

_SECONDS = ("head_timeout", "body_timeout", "idle_timeout", "write_timeout", "linger", "grace")


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """Limits and waits of a listener; sizes in bytes, times in seconds.

    Attributes:
        workers: threads that run calls.
        queue: connections with a request that may wait for a worker; past it they are answered 503.
        connections: open connections; past it new ones are closed at once.
        backlog: connections that the kernel may hold before they are accepted.
        max_head: the request line and headers.
        max_body: a request body.
        head_timeout: from a request's first byte to the end of its head.
        body_timeout: from the end of the head to the end of the body.
        idle_timeout: a connection with nothing to do.
        write_timeout: a peer that takes no more of an answer.
        linger: how long a worker waits on the connection it has just served before it parks it.
        grace: how long `stop` lets running calls finish.
    """

    workers: int = 16
    queue: int = 256
    connections: int = 10_000
    backlog: int = 512
    max_head: int = 32 * 1024
    max_body: int = 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 60.0
    write_timeout: float = 30.0
    linger: float = 0.005
    grace: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _SECONDS:
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 86_400:
                    raise _wrong(field.name, value, "seconds above 0 and below 86400")
            elif isinstance(value, bool) or not isinstance(value, int) or value < (0 if field.name == "queue" else 1):
                raise _wrong(field.name, value, "a whole number of at least " + ("0" if field.name == "queue" else "1"))


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"serving.{name} is {value!r}; allowed: {allowed}", path=f"serving.{name}", allowed=allowed)
