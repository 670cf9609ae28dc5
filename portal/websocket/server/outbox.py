"""Outbox: what one client is sent: responses at once, and messages of subscriptions as long as the client reads."""

from __future__ import annotations

from ...serving import Channel
from ..frames import FrameProtocol
from ..topics.subscription import Subscription

__all__ = ["Outbox"]

_MAX_COLLECTED = 256 * 1024  # bytes that are joined before they are sent


class Outbox:
    """The queue of messages to one client.

    Args:
        channel: sends the bytes.
        frames: makes the frames.
        max_queued: bytes that may wait for the client before the messages of subscriptions wait with their topic.

    Threads: one at a time; the connection has a lock.
    """

    __slots__ = ("_channel", "_collected", "_frames", "_max_queued", "_ready", "_size")

    def __init__(self, channel: Channel, frames: FrameProtocol, max_queued: int) -> None:
        self._channel = channel
        self._frames = frames
        self._max_queued = max_queued
        self._collected: list[bytes] = []  # frames that are not sent yet
        self._size = 0
        self._ready: dict[Subscription, None] = {}  # those that may have messages

    @property
    def is_full(self) -> bool:
        """Whether more bytes wait for the client than it should leave unread."""
        return self._size + self._channel.queued > self._max_queued

    def add(self, text: bytes) -> None:
        """Add a text, even if it is full: the response to a call exists already."""
        frame = self._frames.text(text)
        self._collected.append(frame)
        self._size += len(frame)

    def add_frame(self, frame: bytes) -> None:
        """Add a frame; b"" is none."""
        if frame:
            self._collected.append(frame)
            self._size += len(frame)

    def wake(self, subscription: Subscription) -> None:
        """Take the messages of a subscription, now or when there is room."""
        self._ready[subscription] = None
        self.refill()

    def refill(self) -> None:
        """Take messages of the subscriptions that have some, one from each in turn, as long as there is room."""
        ready = self._ready
        while ready and not self._frames.closing and not self.is_full:
            subscription = next(iter(ready))
            del ready[subscription]
            message = subscription.take()
            if message is not None:
                ready[subscription] = None  # at the end
                self.add_frame(self._frames.shared(message))
                if self._size > _MAX_COLLECTED:
                    self.flush()

    def flush(self) -> None:
        """Send what was added. Raises: OSError if the client is gone."""
        collected = self._collected
        if collected:
            self._collected, self._size = [], 0
            data = collected[0] if len(collected) == 1 else b"".join(collected)
            if data:  # nothing can be sent after a close
                self._channel.send(data)

    def drop(self) -> None:
        """Forget what was added, and all messages that wait."""
        self._collected, self._size = [], 0
        self._ready.clear()
