"""Subscription: the position of one subscriber in a topic, and what it is sent next."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..._internal.closing import run_all
from ..._internal.json_text import JSONValue
from ..._internal.log import get_logger
from ...context import Identity
from ...errors import PortalError
from .. import wire
from ..frames import SharedText
from .event import Offset, TopicEvent
from .ring import Ring

if TYPE_CHECKING:
    from .topic import Topic

__all__ = ["GapReason", "Sink", "Slow", "Subscribed", "Subscriber", "Subscription", "wake_all"]

_log = get_logger("portal.websocket")

#: What happens to a subscriber that reads more slowly than events are published.
Slow = Literal["close", "drop_oldest", "latest", "block"]
#: Why events are missing: not kept long enough for a slow reader, or for a resume; superseded by one of the same key;
#: the topic has lost its memory.
GapReason = Literal["dropped", "trimmed", "latest", "epoch"]


@dataclass(frozen=True, slots=True, eq=False)
class Subscriber:
    """The subscriber, for the audience of an event.

    Attributes:
        client: the name of the client, as in `client_name`.
        identity: proved by a credential, or None.
        params: the parameters of the subscription.
        connection: the id of the connection.
    """

    client: str
    identity: Identity | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    connection: str = ""


class Sink(Protocol):
    """Where the messages of subscriptions go: one connection.

    Threads: any thread calls it, without a lock of the topic. It must not block.
    """

    def wake(self, subscription: Subscription) -> None:
        """Take messages from the subscription, now or when there is room."""

    def slow(self, subscription: Subscription) -> None:
        """End the connection: it reads too slowly. Nothing more is sent."""

    def completed(self, subscription: Subscription, error: PortalError | None) -> None:
        """Tell the subscriber that the topic has ended the subscription; `error` says why."""


class Subscription:
    """The position of one subscriber in a topic.

    Made by `Topic.subscribe`. Nothing is taken from it before `release`, so that the response to the subscribe comes
    first.

    Attributes:
        id: names it on its connection.
        topic: the topic.
        subscriber: who subscribes.
        credit: events that the subscriber accepts; None without a limit.
        closed: whether it has ended.

    Threads: any may call the methods; one at a time takes messages, in order.
    """

    __slots__ = (
        "_end",
        "_lock",
        "_missing",
        "_reason",
        "_ring",
        "_unknown",
        "closed",
        "credit",
        "cursor",
        "epoch",
        "held",
        "id",
        "sink",
        "slow",
        "subscriber",
        "topic",
    )

    def __init__(
        self,
        subscription_id: str,
        topic: Topic,
        subscriber: Subscriber,
        sink: Sink,
        *,
        ring: Ring,
        lock: threading.Lock,
        slow: Slow,
        credit: int | None = None,
    ) -> None:
        self.id = subscription_id
        self.topic = topic
        self.subscriber = subscriber
        self.sink = sink
        self.slow = slow
        self.credit = credit
        self.closed = False
        self.held = True
        self._end: tuple[PortalError | None] | None = None  # which the subscriber is to be told of
        self._ring = ring
        self._lock = lock  # of the topic; guards the ring and the attributes below
        self.epoch = ring.epoch
        self.cursor = ring.head
        self._missing = 0
        self._unknown = False  # whether the number of missing events is not known
        self._reason: GapReason = "dropped"

    def __repr__(self) -> str:
        return f"Subscription({self.id!r}, {self.subscriber.client!r}, cursor={self.cursor})"

    def release(self) -> None:
        """Let messages be taken: the response to the subscribe has been queued."""
        with self._lock:
            self.held, end = False, self._end
        if end is None:
            self.sink.wake(self)
        else:
            self.sink.completed(self, end[0])

    def grant(self, events: int) -> None:
        """Accept more events."""
        with self._lock:
            if self.credit is not None:
                self.credit += events
        self.sink.wake(self)

    def wake(self) -> None:
        """Have the subscriber take messages. If that fails, the subscription ends with an error; others go on."""
        try:
            self.sink.wake(self)
        except BaseException as error:
            _log.exception("sending the events of %s failed", self.topic.name)
            self.end(PortalError("internal error", cause=error))
            if not isinstance(error, Exception):
                raise

    def end(self, error: PortalError | None) -> None:
        """End the subscription, unless it has ended, and tell the subscriber. What that raises is logged."""
        try:
            if self.topic.unsubscribe(self):
                run_all(lambda: self.tell_end(error), attempts=2)
        except Exception:
            _log.exception("a subscriber of %s is not told of the end", self.topic.name)

    def tell_end(self, error: PortalError | None) -> None:
        """Tell the subscriber that the topic has ended the subscription, but not before its response."""
        with self._lock:
            self._end = (error,)
            if self.held:
                return  # `release` does it
        self.sink.completed(self, error)

    def take(self) -> SharedText | None:
        """Return the next message, or None until the sink is woken again."""
        with self._lock:
            if self.closed or self.held:
                return None
            found = self._take()
        if self.slow == "block":
            self.topic.made_room()
        return found

    def _take(self) -> SharedText | None:
        ring = self._ring
        if self.epoch != ring.epoch:
            self.begin_epoch()
        if self.cursor + 1 < ring.first:
            self.skip_to(ring.first - 1, "dropped")
        while (event := ring.get(self.cursor + 1)) is not None:
            if not self._is_for(event):
                self.cursor += 1
            elif self.slow == "latest" and ring.is_superseded(event):
                self.skip_to(self.cursor + 1, "latest")
            else:
                break
        if self._missing or self._unknown:
            return self._gap()
        if event is None or self.credit == 0:
            return None
        self.cursor += 1
        if self.credit is not None:
            self.credit -= 1
        return event.text(self.id, self.epoch)

    def _is_for(self, event: TopicEvent) -> bool:
        to = event.to
        if to is None:
            return True
        return self.subscriber.client == to if isinstance(to, str) else self.topic.is_for(to, self.subscriber)

    def _gap(self) -> SharedText:
        missing = None if self._unknown else self._missing
        self.topic.count_missed(self._missing)
        text = wire.gap(self.id, missing, self._reason, epoch=self.epoch, offset=self.cursor)
        self._missing, self._unknown = 0, False
        return SharedText(text)

    # with the lock of the topic

    def skip_to(self, offset: int, reason: GapReason) -> None:
        """Count the events up to `offset` as missing."""
        self._missing += offset - self.cursor
        self.cursor = offset
        self._reason = reason

    def begin_epoch(self) -> None:
        """Go on with the first event of the ring's epoch. How many are missing is not known."""
        self.epoch = self._ring.epoch
        self.cursor = self._ring.first - 1
        self._unknown = True
        self._reason = "epoch"

    def resume(self, after: Offset) -> bool:
        """Go on after an offset. Return whether no event is missing."""
        ring = self._ring
        if after.epoch != ring.epoch or not 0 <= after.offset <= ring.head:
            self.begin_epoch()
            return False
        self.cursor = after.offset
        if after.offset + 1 < ring.first:
            self.skip_to(ring.first - 1, "trimmed")
            return False
        return True

    def begin_after(self, snapshot: Offset) -> None:
        """Go on after the event that a snapshot includes."""
        ring = self._ring
        if snapshot.epoch == self.epoch == ring.epoch and snapshot.offset >= self.cursor:
            if self._missing:  # the snapshot makes up for them, but they are missing
                self._missing += snapshot.offset - self.cursor
            self.cursor = snapshot.offset

    @property
    def is_behind(self) -> bool:
        """Whether events that it has not taken were dropped."""
        return self.cursor + 1 < self._ring.first or self.epoch != self._ring.epoch


def wake_all(subscriptions: Iterable[Subscription]) -> None:
    """Wake each of the subscriptions, also after one has raised SystemExit or KeyboardInterrupt."""
    try:
        for subscription in subscriptions:
            subscription.wake()
    except BaseException:
        run_all(*(one.wake for one in subscriptions))
        raise


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A new subscription, and the result of rpc.subscribe.

    Attributes:
        position: the events after it follow.
        recovered: whether a resumed subscription misses no event.
        snapshot: (data,) as of `position`, or None.
    """

    subscription: Subscription
    position: Offset
    recovered: bool
    snapshot: tuple[JSONValue] | None

    def to_json(self) -> dict[str, Any]:
        """Return the result of rpc.subscribe."""
        result = {
            "subscription": self.subscription.id,
            "epoch": self.position.epoch,
            "offset": self.position.offset,
            "recovered": self.recovered,
        }
        if self.snapshot is not None:
            result["snapshot"] = self.snapshot[0]
        return result
