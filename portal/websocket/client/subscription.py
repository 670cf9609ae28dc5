"""Subscription: the events of a topic, as one reader takes them.

The events wait in a queue that is bounded in bytes. It outlives connections: the link subscribes again and resumes
after the last event in the queue, so that each event comes once, or is part of a Gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from ..._internal.conditions import Condition
from ..._internal.json_text import JSONObject, JSONValue
from ...address import Address
from ...errors import CallTimeout, OverloadedError, PortalError
from ..events import EventReceived, GapReceived
from .failures import copy_error

__all__ = ["Event", "Gap", "SlowReader", "Subscription", "is_position"]

T = TypeVar("T")
#: What happens to a reader that is slower than the events are published; see `Subscription`.
SlowReader = Literal["close", "drop_oldest", "latest", "block"]
_CREDIT = 256  # events that the server may send to a reader with slow="block"
_GAP_SIZE = 64


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """An event of a topic.

    Attributes:
        data: what was published, in the type of `returns=`.
        epoch, offset: its position. The epoch changes when the topic loses its memory.
        key: what it is about, or None.
        snapshot: whether it is not an event but the state that the topic had when the subscription began.
    """

    data: T
    epoch: str
    offset: int
    key: str | None = None
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that this reader does not get.

    Attributes:
        count: how many; None if that is not known.
        reason: "dropped" or "latest" for a slow reader; "trimmed" if the topic did not keep them long enough, "epoch"
            if it has lost its memory; "disconnected" without resume.
    """

    count: int | None
    reason: str


class _Waiting:
    """An item of the queue."""

    __slots__ = ("item", "size")

    def __init__(self, item: Event[Any] | Gap, size: int) -> None:
        self.item: Event[Any] | Gap | None = item
        self.size = size


class Subscription(Generic[T]):
    """The events of a topic. Iterate it; it yields Event and Gap, and ends when it is closed.

    A reader that is too slow for `max_bytes` of waiting events is handled by `slow`:

        close         the subscription ends, with OverloadedError after the events that wait
        drop_oldest   the oldest waiting events are dropped; a Gap takes their place
        latest        a waiting event is replaced by a newer one with the same key; then as drop_oldest
        block         the server sends no more until there is room, and its own rule for slow readers applies

    Args:
        address: of the topic.
        params: parameters of the subscription.
        resume: whether to get the events published while there was no connection.
        slow: see above.
        max_bytes: bytes of the messages of waiting events.
        load: converts the data of an event.
        close: ends the subscription on the server.
        grant: accepts more events: id of the subscription and number.
        since: the epoch and offset of the last event known; None begins now.

    Raises, while iterating: portal errors only; what ended the subscription. ValidationError for data that does not fit
        `returns=`; the next event can be taken after it.

    Threads: one takes the events; any may close it.
    """

    def __init__(
        self,
        address: Address,
        params: Mapping[str, JSONValue] | None = None,
        *,
        resume: bool = True,
        slow: SlowReader = "close",
        max_bytes: int = 1024 * 1024,
        load: Callable[[JSONValue], T] | None = None,
        close: Callable[[Subscription[T]], object] | None = None,
        grant: Callable[[str, int], object] | None = None,
        since: tuple[str, int] | None = None,
    ) -> None:
        self.address = address
        self.params: JSONObject | None = None if params is None else dict(params)
        self.credit = _CREDIT if slow == "block" else None
        self._resume = resume
        self._slow = slow
        self._max_bytes = max_bytes
        self._load = load
        self._close = close
        self._grant = grant
        self._changed = Condition()  # guards the attributes below
        self._items: deque[_Waiting] = deque()
        self._by_key: dict[str, _Waiting] = {}
        self._bytes = 0
        self._dropped = 0
        self._drop_reason = "dropped"
        self._received = since  # the last position in the queue, or before it
        self._taken = since
        self._to_grant = 0
        self._server_id: str | None = None
        self._begun = False
        self._ended = False
        self._error: PortalError | None = None
        self._wake: Callable[[], object] | None = None

    # for readers

    def __iter__(self) -> Iterator[Event[T] | Gap]:
        while (item := self.next()) is not None:
            yield item

    def next(self, timeout: float | None = None) -> Event[T] | Gap | None:
        """Return the next event or gap; None when the subscription has ended.

        Args:
            timeout: seconds to wait; None without limit.

        Raises: CallTimeout if nothing comes in time; what ended the subscription.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._dropped or self._ended, timeout):
                raise CallTimeout(f"no event of {self.address} came in time", timeout=timeout, delivery="not_sent")
            item = self._take()
        self._give_credit()
        if isinstance(item, Event) and self._load is not None:
            return Event(self._load(item.data), item.epoch, item.offset, item.key, item.snapshot)
        return item

    def __repr__(self) -> str:
        return f"<Subscription {self.address}: {'ended' if self._ended else 'open'}>"

    @property
    def position(self) -> tuple[str, int] | None:
        """The epoch and offset of the last event taken: with `since=` a later subscription goes on after it."""
        return self._taken

    @property
    def closed(self) -> bool:
        """Whether it has ended; events may still wait."""
        return self._ended

    @property
    def error(self) -> PortalError | None:
        """The error that ended the subscription, or None."""
        return self._error

    def wait_until_begun(self, timeout: float | None = None) -> bool:
        """Wait until the server has confirmed the subscription, or it has ended. Return False if neither is so.

        Raises: what ended it.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: self._begun or self._ended, timeout)
            if self._error is not None and not self._begun:
                raise copy_error(self._error, sent=False)
            return done

    def close(self) -> None:
        """End the subscription; waiting events are dropped. May be called twice."""
        with self._changed:
            if not self._ended:
                self._ended = True
            self._items.clear()
            self._by_key.clear()
            self._bytes = self._dropped = 0
            self._error = None
            self._notify()
        if self._close is not None:
            self._close(self)

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def on_change(self, wake: Callable[[], object]) -> None:
        """Call `wake` when there is something to take, from another thread. It must not block."""
        with self._changed:
            self._wake = wake
            self._notify()

    @property
    def waiting(self) -> bool:
        """Whether `next` would return at once."""
        return bool(self._items or self._dropped or self._ended)

    def _take(self) -> Event[Any] | Gap | None:
        if self._dropped:
            gap = Gap(self._dropped, self._drop_reason)
            self._dropped = 0
            return gap
        if not self._items:
            if self._error is not None:
                raise copy_error(self._error, sent=False)
            return None
        waiting = self._items.popleft()
        while waiting.item is None:
            waiting = self._items.popleft()
        self._bytes -= waiting.size
        item = waiting.item
        if isinstance(item, Event):
            if item.key is not None and self._by_key.get(item.key) is waiting:
                del self._by_key[item.key]
            self._taken = (item.epoch, item.offset)
            self._to_grant += not item.snapshot
        return item

    def _give_credit(self) -> None:
        if self.credit is None or self._to_grant * 2 < self.credit:
            return
        with self._changed:
            items, self._to_grant = self._to_grant, 0
            server_id = self._server_id
        if items and server_id is not None and self._grant is not None:
            self._grant(server_id, items)

    # for the link, which holds its lock

    def position_to_resume(self) -> JSONObject | None:
        """Return the position after which the server goes on, or None for the present."""
        if self._received is None or (self._begun and not self._resume):
            return None
        return {"epoch": self._received[0], "offset": self._received[1]}

    def on_subscribed(self, server_id: str, result: JSONObject) -> None:
        """Take the response to rpc.subscribe."""
        epoch, offset = result.get("epoch"), result.get("offset")
        with self._changed:
            self._server_id, self._to_grant = server_id, 0
            if self._begun and not self._resume:
                self._put(Gap(None, "disconnected"), _GAP_SIZE)
            if isinstance(epoch, str) and isinstance(offset, int):
                if "snapshot" in result:
                    self._put(Event(result["snapshot"], epoch, offset, None, True), _GAP_SIZE)
                if self._received is None or not self._resume:
                    self._received = (epoch, offset)
            self._begun = True
            self._notify()

    def on_event(self, event: EventReceived, size: int) -> bool:
        """Take an event. Return False if the subscription has ended, as its reader is too slow."""
        with self._changed:
            if self._ended:
                return False
            known = self._received
            if known is not None and known[0] == event.epoch and event.offset <= known[1]:
                return True  # it came on an earlier connection
            self._received = (event.epoch, event.offset)
            made = Event(event.data, event.epoch, event.offset, event.key)
            if not self._make_room(made, size):
                return False
            self._put(made, size)
            self._notify()
        return True

    def on_gap(self, gap: GapReceived) -> None:
        """Take a gap that the server has told of."""
        _, count, reason, epoch, offset = gap
        with self._changed:
            if epoch is not None and offset is not None:
                self._received = (epoch, offset)
            self._put(Gap(count, reason), _GAP_SIZE)
            self._notify()

    def on_end(self, error: PortalError | None) -> None:
        """Take the end."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._notify()

    def _put(self, item: Event[Any] | Gap, size: int) -> None:
        waiting = _Waiting(item, size)
        self._items.append(waiting)
        self._bytes += size
        if self._slow == "latest" and isinstance(item, Event) and item.key is not None:
            self._by_key[item.key] = waiting

    def _make_room(self, event: Event[Any], size: int) -> bool:
        """Make room for an event by the rule for slow readers. Return False if the subscription ends instead."""
        if self._slow == "latest" and event.key is not None:
            older = self._by_key.pop(event.key, None)
            if older is not None:
                self._count_dropped(older, "latest")
                older.item, older.size = None, 0  # `_take` skips it; the newer event follows
        if self._bytes + size <= self._max_bytes or not self._items or self._slow == "block":
            return True
        if self._slow == "close":
            words = f"the reader of {self.address} is too slow: {self._bytes} bytes of events wait"
            hint = 'read faster, pass a larger max_bytes=, or another rule such as slow="drop_oldest"'
            self._ended, self._error = True, OverloadedError(words, hint=hint, retryable=False)
            self._notify()
            return False
        while self._items and self._bytes + size > self._max_bytes:
            self._count_dropped(self._items.popleft(), "dropped")
        return True

    def _count_dropped(self, waiting: _Waiting, reason: str) -> None:
        self._bytes -= waiting.size
        item = waiting.item
        if item is None:
            return
        self._dropped += (item.count or 1) if isinstance(item, Gap) else 1
        self._drop_reason = reason
        if isinstance(item, Event) and item.key is not None and self._by_key.get(item.key) is waiting:
            del self._by_key[item.key]

    def _notify(self) -> None:
        self._changed.notify_all()
        if self._wake is not None:
            self._wake()


def is_position(value: Any) -> bool:
    """Return whether a value is an epoch and an offset, also as a list that JSON made of them, or None."""
    if value is None:
        return True
    return isinstance(value, tuple | list) and [type(one) for one in value] == [str, int]
