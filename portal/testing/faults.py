"""Faults of a network, for FaultProxy.

Latency     wait before the first byte
SlowBytes   pass few bytes at a time, with a pause between
Cut         close the connection after so many bytes
Reset       the same with a TCP reset
HalfOpen    deliver the request, then go silent: the response is lost and the connection stays open
BlackHole   deliver nothing, and stay open
Rewrite     change the bytes
Refuse      stop listening: connections are refused, as by a host whose server is down
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .._internal.settings import callback, choice, positive_seconds, require, seconds, size, text

__all__ = [
    "BlackHole",
    "Cut",
    "Direction",
    "HalfOpen",
    "Latency",
    "NetworkFault",
    "Refuse",
    "Reset",
    "Rewrite",
    "SlowBytes",
]

Direction: TypeAlias = Literal["request", "response"]
ByteCount: TypeAlias = int | range


@dataclass(frozen=True)
class NetworkFault:
    """The base class of all faults."""

    @property
    def name(self) -> str:
        """The name that `FaultProxy.counts` has for it."""
        return type(self).__name__


@dataclass(frozen=True)
class Latency(NetworkFault):
    """Wait before the first byte of a direction.

    Attributes:
        duration: in seconds.
        direction: "request" delays what the client sends, "response" what the server sends.
    """

    duration: float
    direction: Direction = "request"

    def __post_init__(self) -> None:
        seconds("latency.duration", self.duration)
        _require_direction("latency", self.direction)


@dataclass(frozen=True)
class SlowBytes(NetworkFault):
    """Pass a few bytes at a time.

    Attributes:
        interval: seconds between the pieces.
        size: bytes in a piece.
        direction: of the bytes.
    """

    interval: float
    size: int = 1
    direction: Direction = "response"

    def __post_init__(self) -> None:
        positive_seconds("slow_bytes.interval", self.interval)
        size("slow_bytes.size", self.size)
        _require_direction("slow_bytes", self.direction)


@dataclass(frozen=True)
class Cut(NetworkFault):
    """Close the connection once so many bytes of a direction have passed.

    Attributes:
        after: the number of bytes, or a range from which the seed chooses it.
        direction: of the bytes. With "request" and 0 the server gets nothing.
    """

    after: ByteCount = 0
    direction: Direction = "response"

    def __post_init__(self) -> None:
        setting = self.name.lower()
        _require_bytes(f"{setting}.after", self.after)
        _require_direction(setting, self.direction)


@dataclass(frozen=True)
class Reset(Cut):
    """Reset the connection once so many bytes of a direction have passed; otherwise as `Cut`."""


@dataclass(frozen=True)
class HalfOpen(NetworkFault):
    """Deliver the request, pass so many bytes of the response, then go silent without closing the connection.

    Attributes:
        after: the number of bytes, or a range from which the seed chooses it.
    """

    after: ByteCount = 0

    def __post_init__(self) -> None:
        _require_bytes("half_open.after", self.after)


@dataclass(frozen=True)
class BlackHole(NetworkFault):
    """Take what the client sends, deliver nothing, and keep the connection open."""


@dataclass(frozen=True)
class Rewrite(NetworkFault):
    """Change the bytes of a direction.

    Attributes:
        change: gets the bytes that arrived together and returns those to pass on.
        label: the name in `FaultProxy.counts`.
        direction: of the bytes.
    """

    change: Callable[[bytes], bytes]
    label: str = "Rewrite"
    direction: Direction = "response"

    def __post_init__(self) -> None:
        callback("rewrite.change", self.change)
        text("rewrite.label", self.label)
        _require_direction("rewrite", self.direction)

    @property
    def name(self) -> str:
        """The label."""
        return self.label


@dataclass(frozen=True)
class Refuse(NetworkFault):
    """Refuse connections and close those that are open. It cannot be combined with other faults."""


def _require_direction(name: str, direction: object) -> None:
    choice(f"{name}.direction", direction, ("request", "response"))


def _require_bytes(setting: str, value: object) -> None:
    if not isinstance(value, range):
        size(setting, value, minimum=0)
    else:
        require(value and min(value) >= 0, setting, value, "a number of bytes, or a range of them that is not empty")
