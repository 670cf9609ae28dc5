"""Ring: the last events of a topic, in memory."""

from __future__ import annotations

from .event import Retain, TopicEvent

__all__ = ["Ring"]


class Ring:
    """The events from `first` to `head`; empty when `first` is `head` + 1.

    Args:
        retain: the bounds.
        epoch: of the events.

    Attributes:
        epoch: of the events.
        head: the offset of the newest event that was appended; 0 before the first one.
        first: the offset of the oldest event that is kept.
        size: bytes of the events that are kept.

    Threads: one at a time.
    """

    __slots__ = ("_by_key", "_events", "_retain", "epoch", "first", "head", "size")

    def __init__(self, retain: Retain, epoch: str) -> None:
        self._retain = retain
        self.reset(epoch)

    def reset(self, epoch: str, head: int = 0) -> None:
        """Forget all events and begin an epoch, or go on in it after the offset `head`."""
        self.epoch = epoch
        self.head = head
        self.first = head + 1
        self.size = 0
        self._events: dict[int, TopicEvent] = {}
        self._by_key: dict[object, int] = {}  # the newest offset of each key and audience that is kept

    def __len__(self) -> int:
        return len(self._events)

    def get(self, offset: int) -> TopicEvent | None:
        """Return the event at an offset, or None."""
        return self._events.get(offset)

    def append(self, event: TopicEvent) -> None:
        """Add the event after `head`, and drop the oldest ones beyond the bounds of number and bytes.

        An event with a greater offset than that shows that events were missed; then all earlier ones are dropped.
        """
        if event.offset != self.head + 1:
            self.reset(self.epoch, event.offset - 1)
        self._events[event.offset] = event
        self.head = event.offset
        self.size += event.size
        if event.key is not None:
            self._by_key[event.key, event.to] = event.offset
        retain = self._retain
        while len(self._events) > 1 and (len(self._events) > retain.events or self.size > retain.bytes):
            self._drop_first()

    def would_drop(self, size: int) -> int:
        """Return the offset of the newest event that one more event of `size` bytes would drop; 0 for none."""
        number, left = len(self._events) + 1, self.size + size
        offset = self.first
        while offset <= self.head and (number > self._retain.events or left > self._retain.bytes):
            left -= self._events[offset].size
            number -= 1
            offset += 1
        return offset - 1 if offset > self.first else 0

    def expire(self, now: float) -> None:
        """Drop the events that are older than the bound of age."""
        age = self._retain.age
        if age is None:
            return
        while len(self._events) > 1 and self._events[self.first].at + age <= now:
            self._drop_first()

    def is_superseded(self, event: TopicEvent) -> bool:
        """Return whether there is a newer event with the same key for the same audience."""
        return event.key is not None and self._by_key[event.key, event.to] != event.offset

    def _drop_first(self) -> None:
        event = self._events.pop(self.first)
        self.first += 1
        self.size -= event.size
        place = (event.key, event.to)
        if event.key is not None and self._by_key[place] == event.offset:
            del self._by_key[place]
