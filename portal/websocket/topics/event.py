"""The events of topics: Retain, Offset and TopicEvent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..._internal.settings import count, positive_seconds, size
from .. import wire
from ..frames import SharedText

if TYPE_CHECKING:
    from .subscription import Subscriber

__all__ = ["Audience", "Offset", "Retain", "TopicEvent"]

#: Who gets an event: None is every subscriber; a text is one client, as in `client_name`; else a test.
Audience = "str | Callable[[Subscriber], bool] | None"


@dataclass(frozen=True, slots=True)
class Retain:
    """Bounds on the events that a topic remembers. The first bound that is reached counts.

    These are also the events that wait for a subscriber that reads slowly. The newest event is always kept.

    Attributes:
        events: number of events.
        bytes: bytes of the JSON text of their data.
        age: seconds since an event was published; None without a bound.

    Raises: ConfigError for a wrong setting.
    """

    events: int = 1000
    bytes: int = 1024 * 1024
    age: float | None = None

    def __post_init__(self) -> None:
        count("retain.events", self.events, maximum=10_000_000)
        size("retain.bytes", self.bytes)
        positive_seconds("retain.age", self.age, optional=True)


class Offset(NamedTuple):
    """The position of an event in a topic.

    Attributes:
        epoch: changes when a topic loses its memory, as at a restart.
        offset: counts the events of the epoch from 1.
    """

    epoch: str
    offset: int


class TopicEvent:
    """One event, which all its subscribers share.

    Attributes:
        offset: its number in the epoch.
        data: JSON text.
        key: what it is about, or None; see `Topic`.
        to: its audience.
        at: the moment at which it was published, of the clock of the topic.
        size: bytes that count for `Retain`.

    Threads: any; it does not change.
    """

    __slots__ = ("_shared", "at", "data", "key", "offset", "size", "to")

    def __init__(
        self,
        offset: int,
        data: bytes,
        key: str | None = None,
        to: str | Callable[[Subscriber], bool] | None = None,
        at: float = 0.0,
    ) -> None:
        self.offset = offset
        self.data = data
        self.key = key
        self.to = to
        self.at = at
        self.size = len(data) + (0 if key is None else len(key))
        self._shared: tuple[str, str, SharedText] | None = None

    def __repr__(self) -> str:
        return f"TopicEvent(offset={self.offset}, key={self.key!r}, size={self.size})"

    def text(self, subscription: str, epoch: str) -> SharedText:
        """Return the message for a subscription. It is made once for all subscriptions of the same id."""
        known = self._shared
        if known is not None and known[0] == subscription and known[1] == epoch:
            return known[2]
        made = SharedText(wire.event(subscription, epoch, self.offset, self.data, self.key))
        if known is None:
            self._shared = (subscription, epoch, made)
        return made
