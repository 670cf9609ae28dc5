"""TopicStore: what keeps the events of topics for several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .event import Offset

if TYPE_CHECKING:
    from .topic import Topic

__all__ = ["TopicStore"]


class TopicStore(Protocol):
    """The store that keeps events for several processes. It passes them to the topics of this process, in order.

    Threads: any. `attach`, `append` and `sync` may wait for the store.
    """

    def attach(self, topic: Topic) -> None:
        """Pass the events that are kept to `topic.receive`, and from now on each new one."""

    def detach(self, topic: Topic) -> None:
        """Pass nothing more to a topic."""

    def append(self, topic: Topic, data: bytes, key: str | None, to: str | None) -> Offset:
        """Keep an event and return its offset."""

    def sync(self, topic: Topic) -> None:
        """Pass the events that are kept to the topic, if it does not have them yet."""
