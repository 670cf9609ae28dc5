"""Topic: a named sequence of events with a bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any

from ..._internal.conditions import Condition
from ..._internal.counter import Counter
from ..._internal.json_encoder import encode_json
from ..._internal.json_text import JSONValue
from ..._internal.log import get_logger
from ..._internal.settings import callback, choice, instance, positive_seconds, require
from ...address import Address
from ...errors import ConfigError, Fault, OverloadedError, PortalError, ValidationError
from ...schema import Schema, check_name, to_builtins
from .event import Offset, Retain, TopicEvent
from .rights import TopicRights
from .ring import Ring
from .store import TopicStore
from .subscription import Sink, Slow, Subscribed, Subscriber, Subscription, wake_all

__all__ = ["Topic"]

_log = get_logger("portal.topics")
#: Names of the threads that serve many connections; they do not wait for a subscriber.
_SHARED_THREADS = "portal-"
_SLOW: tuple[Slow, ...] = ("close", "drop_oldest", "latest", "block")
Predicate = Callable[[Subscriber], bool]


class Topic:
    """A named sequence of events. Make it with `WebSocketPortal.topic`.

    The topic keeps the last events. Each subscription has a position among them, so that events are kept once, not for
    each subscriber. A subscriber that is further behind than the topic remembers is handled by `slow`:

        close         its connection is closed with code 4413
        drop_oldest   it misses the oldest events and is told of the gap
        latest        as drop_oldest, and of several waiting events with one key it gets the last one only
        block         `publish` waits for it, `max_wait` seconds at most; then as close

    Args:
        name: the name; of the same kind as that of a function.
        item: the schema of the data: a type hint, a marshmallow schema or a JSON Schema.
        params: the schema of the parameters of subscriptions, or None if there are none.
        retain: how many events are kept.
        slow: see above.
        key: returns the key of an event, from its data; or the name of a member of the data.
        scopes: what an identity needs to subscribe.
        publish_scopes: what an identity needs to publish as a client; None if clients may not publish.
        snapshot: returns the state for a subscriber that does not resume: data, or (data, offset). With an offset, the
            data is the state after the event at that offset. It is called without a lock. If it returns data alone, an
            event that is published meanwhile may be in the state and also follow it.
        store: keeps the events for several processes; None keeps them in this object.
        max_wait: see "block".
        address: returns the address.
        description: for the documents.
        clock: seconds, as `time.monotonic`.

    Attributes:
        rights: who may subscribe and publish.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    def __init__(
        self,
        name: str,
        *,
        item: Any = Any,
        params: Any = None,
        retain: Retain | None = None,
        slow: Slow = "close",
        key: str | Callable[[Any], str | None] | None = None,
        scopes: Iterable[str] = (),
        publish_scopes: Iterable[str] | None = None,
        snapshot: Callable[[], Any] | None = None,
        store: TopicStore | None = None,
        max_wait: float = 10.0,
        address: Callable[[], Address] | None = None,
        description: str = "",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        check_name(name)
        self.name = name
        require(isinstance(description, str), "topic.description", description, "a string")
        self.description = description
        self.item = Schema.of(item)
        self.params = None if params is None else Schema.of(params)
        self.retain = instance("topic.retain", retain, Retain, optional=True) or Retain()
        self.slow: Slow = choice("topic.slow", slow, _SLOW)
        ok = key is None or isinstance(key, str) or callable(key)
        require(ok, "topic.key", key, "a name or a callable", optional=True)
        self.rights = TopicRights(name, scopes, publish_scopes)
        self._key = key
        self._snapshot = callback("topic.snapshot", snapshot, optional=True)
        self._store = store
        if store is not None and slow == "block":
            raise ConfigError.invalid("topic.slow", slow, '"close", "drop_oldest" or "latest" with a store')
        self._max_wait = positive_seconds("topic.max_wait", max_wait)
        self._address = address
        self._clock = clock
        self._lock = threading.Lock()  # guards the ring, the subscriptions and their positions
        self._ring = Ring(self.retain, new_epoch())
        self._subscriptions: tuple[Subscription, ...] = ()
        self._room = Condition()  # notified when a subscription has taken a message
        self._takes = 0  # guarded by it
        self._attached = False
        self._attaching = threading.Lock()  # held while the store is asked
        self._published, self._closed_slow = Counter(), Counter()
        self._missed = 0  # guarded by the lock

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"

    @property
    def address(self) -> Address:
        """The address, to which `Consumer.subscribe` and `Consumer.publish` connect."""
        if self._address is None:
            raise ConfigError(
                f"the topic {self.name} has no address; make topics with WebSocketPortal.topic", path="topic.address"
            )
        return self._address()

    @property
    def position(self) -> Offset:
        """The offset of the last event."""
        with self._lock:
            return Offset(self._ring.epoch, self._ring.head)

    def describe(self) -> dict[str, Any]:
        """Return the description for clients, as JSON data."""
        found = {
            "topic": self.name,
            "description": self.description,
            "item": self.item.to_json(),
            "slow": self.slow,
            "clients_publish": self.rights.publish_scopes is not None,
        }
        return found if self.params is None else found | {"params": self.params.to_json()}

    def checked_params(self, params: JSONValue) -> dict[str, Any]:
        """Return the parameters of a subscription. Raises: ValidationError."""
        given = {} if params is None else params
        if self.params is not None:
            self.params.load(given)
        elif given != {}:
            raise ValidationError(errors=[Fault("/params", f"{self.name} has no parameters", "maxProperties")])
        return given if isinstance(given, dict) else {"params": given}

    # publishing

    def publish(self, data: Any, *, key: str | None = None, to: str | Predicate | None = None) -> Offset:
        """Publish an event.

        Args:
            data: a native value of the item's type.
            key: what the event is about; by default as the topic's `key` says.
            to: the one client that gets it, such as "identity:ann", or a test of subscribers; None for all. A test
                must not block, and needs a topic without a store.

        Returns: its offset.
        Raises: ValidationError for data that does not fit. OverloadedError in a topic that blocks, if the event could
            not be kept without a loss: after `max_wait` seconds, or at once in a thread that serves others.
        """
        if key is None and self._key is not None:
            key = self._key_of(data)
        return self._publish(self.item.dump(data), key, to)

    def publish_json(self, data: JSONValue, *, key: str | None = None) -> Offset:
        """Publish JSON data that a client sent; otherwise as `publish`."""
        if not self.item.accepts(data):
            raise ValidationError(errors=self.item.faults(data))
        if key is None and self._key is not None:
            key = self._key_of(self.item.load(data))
        return self._publish(data, key, None)

    def _key_of(self, data: Any) -> str | None:
        if callable(self._key):
            return self._key(data)
        assert self._key is not None
        found = data.get(self._key) if isinstance(data, Mapping) else getattr(data, self._key, None)
        return None if found is None else str(found)

    def _publish(self, data: JSONValue, key: str | None, to: str | Predicate | None) -> Offset:
        if key is not None and not isinstance(key, str):
            raise ConfigError.invalid("topic.key", key, "a string, or None")
        text = encode_json(data)
        self._published.add()
        if self._store is not None:
            if callable(to):
                raise ConfigError.invalid("topic.to", to, "the name of a client, or None, with a store")
            self._attach(self._store)
            return self._store.append(self, text, key, to)
        offset, subscriptions = self._append(text, key, to)
        self._wake(subscriptions)
        return offset

    def _append(self, data: bytes, key: str | None, to: Any) -> tuple[Offset, tuple[Subscription, ...]]:
        """Add an event once each subscription that blocks has taken those that it drops."""
        deadline = None
        while True:
            with self._room:
                takes = self._takes
            with self._lock:
                event = TopicEvent(self._ring.head + 1, data, key, to, self._clock())
                waiting = self._waiting_for(event) if self.slow == "block" else []
                if not waiting or (deadline is not None and event.at >= deadline):
                    self._ring.append(event)
                    self._ring.expire(event.at)
                    return Offset(self._ring.epoch, event.offset), self._subscriptions
            if threading.current_thread().name.startswith(_SHARED_THREADS):
                raise OverloadedError(f"{len(waiting)} subscribers of {self.name} are too slow", retry_after=1.0)
            if deadline is None:
                deadline = event.at + self._max_wait
            with self._room:
                if self._takes == takes:
                    self._room.wait(deadline - event.at)

    def _waiting_for(self, event: TopicEvent) -> list[Subscription]:
        dropped = self._ring.would_drop(event.size)
        return [one for one in self._subscriptions if one.cursor < dropped] if dropped else []

    def _wake(self, subscriptions: tuple[Subscription, ...]) -> None:
        wake_all(subscriptions)
        if self.slow not in ("close", "block"):
            return
        for subscription in subscriptions:
            if subscription.is_behind and not subscription.held and self.unsubscribe(subscription):
                self._closed_slow.add()
                subscription.sink.slow(subscription)

    def made_room(self) -> None:
        """Wake the callers of `publish` that wait: a subscription has taken a message."""
        with self._room:
            self._takes += 1
            self._room.notify_all()

    # subscribing

    def subscribe(
        self,
        subscriber: Subscriber,
        sink: Sink,
        *,
        subscription_id: str | None = None,
        after: Offset | None = None,
        credit: int | None = None,
    ) -> Subscribed:
        """Begin a subscription. The caller responds to the subscriber, and then calls `Subscription.release`.

        Args:
            subscription_id: the name of the topic by default, so that subscribers share their messages.
            after: the last event that the subscriber has; None for the events from now on.
            credit: events that the subscriber accepts for now; None without a limit.

        Raises: what `snapshot` raises; StoreUnavailable.
        """
        if self._store is not None:
            self._attach(self._store)
            if after is not None and not self._knows(after):
                self._store.sync(self)
        with self._lock:
            self._ring.expire(self._clock())
            made = Subscription(
                subscription_id or self.name,
                self,
                subscriber,
                sink,
                ring=self._ring,
                lock=self._lock,
                slow=self.slow,
                credit=credit,
            )
            recovered = after is not None and made.resume(after)
            self._subscriptions = (*self._subscriptions, made)
            position = Offset(made.epoch, made.cursor)
        if recovered or self._snapshot is None:
            return Subscribed(made, position, recovered, None)
        try:
            data, position = self._take_snapshot(made)
        except BaseException:
            self.unsubscribe(made)
            raise
        return Subscribed(made, position, recovered, (data,))

    def _take_snapshot(self, made: Subscription) -> tuple[JSONValue, Offset]:
        """Return the snapshot and its position, and let the subscription go on after it."""
        assert self._snapshot is not None
        with self._lock:
            head = Offset(self._ring.epoch, self._ring.head)
        found = self._snapshot()
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Offset):
            data, head = found
        else:
            data = found
        with self._lock:
            made.begin_after(head)
            return to_builtins(data), Offset(made.epoch, made.cursor)

    def unsubscribe(self, subscription: Subscription) -> bool:
        """End a subscription. Return whether it had not ended before."""
        with self._lock:
            if subscription.closed:
                return False
            subscription.closed = True
            self._subscriptions = tuple(one for one in self._subscriptions if one is not subscription)
        if self.slow == "block":
            self.made_room()
        return True

    def is_for(self, to: Predicate, subscriber: Subscriber) -> bool:
        """Return what a test of an audience says; False if it fails, which is logged."""
        try:
            return bool(to(subscriber))
        except Exception as error:
            _log.error("the callable to= of an event of %s failed: %s: %s", self.name, type(error).__name__, error)
            return False

    def count_missed(self, events: int) -> None:
        """Count events that a subscriber has missed; with the lock of the topic."""
        self._missed += events

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """The subscriptions of this process."""
        return self._subscriptions

    def stats(self) -> dict[str, Any]:
        """Return the numbers of this topic in this process.

        "missed" counts events that subscribers were told to have missed, "closed_slow" subscribers that were closed.
        """
        with self._lock:
            kept, size = len(self._ring), self._ring.size
        return {
            "subscribers": len(self._subscriptions),
            "published": self._published.value,
            "kept": kept,
            "bytes": size,
            "missed": self._missed,
            "closed_slow": self._closed_slow.value,
        }

    def close(self, error: PortalError | None = None) -> None:
        """End every subscription. The subscribers are told.

        Args:
            error: why; None if the topic was removed.
        """
        if self._store is not None:
            self._store.detach(self)
        for subscription in self._subscriptions:
            subscription.end(error)

    # for the store

    def _attach(self, store: TopicStore) -> None:
        with self._attaching:
            if not self._attached:
                store.attach(self)
                self._attached = True

    def _knows(self, offset: Offset) -> bool:
        with self._lock:
            return offset.epoch == self._ring.epoch and offset.offset <= self._ring.head

    def fresh_epoch(self) -> str:
        """Return the name for a new epoch, if the store has to begin one."""
        return new_epoch()

    def receive(self, epoch: str, events: Iterable[TopicEvent], *, head: int = 0) -> None:
        """Take events of the store, in order; those that are known already are skipped.

        Args:
            head: the last offset, if it is known; the events before it that did not come are no longer kept.
        """
        with self._lock:
            for event in events:
                if epoch != self._ring.epoch:
                    self._ring.reset(epoch, event.offset - 1)
                if event.offset > self._ring.head:
                    self._ring.append(event)
            if epoch != self._ring.epoch or head > self._ring.head:
                self._ring.reset(epoch, head)
            self._ring.expire(self._clock())
            subscriptions = self._subscriptions
        self._wake(subscriptions)


def new_epoch() -> str:
    """Return a random epoch."""
    return os.urandom(6).hex()
