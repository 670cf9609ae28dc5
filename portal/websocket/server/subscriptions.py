"""Subscriptions: those of one connection, by their ids."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..._internal.json_encoder import encode_json
from ...calls.client import client_name
from ...context import Identity
from ...errors import OverloadedError, PortalError
from ..topics.event import Offset
from ..topics.subscription import Sink, Subscribed, Subscriber, Subscription
from ..topics.topic import Topic
from .subscription_places import SubscriptionPlaces

__all__ = ["Subscriptions"]


class Subscriptions:
    """The subscriptions of one connection.

    The id of a subscription is the name of its topic, so that subscribers share their messages. A second subscription
    of a connection to the same topic has another id.

    Args:
        sink: takes the messages: the connection.
        connection: the id of the connection.
        address: the network address of the client.
        limit: subscriptions at most.
        places: counts those of all connections.
        max_params: bytes of their parameters, as JSON text, which are kept as long as they.

    Threads: any.
    """

    def __init__(
        self,
        sink: Sink,
        connection: str,
        address: str,
        limit: int,
        places: SubscriptionPlaces,
        *,
        max_params: int = 64 * 1024,
    ) -> None:
        self._sink = sink
        self._connection = connection
        self._address = address
        self._limit = limit
        self._places = places
        self._max_params = max_params
        self._lock = threading.Lock()  # guards the attributes below; not held while a topic is asked
        self._by_id: dict[str, Subscription | None] = {}  # None while a topic is asked
        self._counted: dict[str, tuple[str, int]] = {}  # the client, and the bytes of the parameters
        self._params = 0  # their sum
        self._closed = False

    def __len__(self) -> int:
        return len(self._by_id)

    def add(
        self,
        topic: Topic,
        identity: Identity | None,
        params: Mapping[str, Any],
        *,
        after: Offset | None = None,
        credit: int | None = None,
    ) -> Subscribed:
        """Subscribe to a topic; see `Topic.subscribe`.

        Raises: OverloadedError at a limit; RateLimitError at that of the client; what `Topic.subscribe` raises.
        """
        client = client_name(identity, self._address)
        subscription_id = self._reserve(topic.name, client, len(encode_json(params)) if params else 0)
        subscriber = Subscriber(client, identity, params, self._connection)
        try:
            found = topic.subscribe(subscriber, self._sink, subscription_id=subscription_id, after=after, credit=credit)
        except BaseException:
            self._forget(subscription_id)
            raise
        with self._lock:
            closed = self._closed
            if not closed:
                self._by_id[subscription_id] = found.subscription
        if closed:  # the connection was lost meanwhile
            self._forget(subscription_id)
            topic.unsubscribe(found.subscription)
        return found

    def _reserve(self, name: str, client: str, size: int) -> str:
        with self._lock:
            if len(self._by_id) >= self._limit:
                raise OverloadedError(f"a connection must have at most {self._limit} subscriptions", retryable=False)
            if size and self._params + size > self._max_params:
                words = (
                    f"the parameters of the subscriptions of a connection must have at most {self._max_params} bytes"
                )
                raise OverloadedError(words, retryable=False)
            self._places.take(client)
            found, number = name, 1
            while found in self._by_id:
                number += 1
                found = f"{name}#{number}"
            self._by_id[found] = None
            self._counted[found] = client, size
            self._params += size
            return found

    def _forget(self, subscription_id: str) -> Subscription | None:
        with self._lock:
            counted = self._counted.pop(subscription_id, None)
            if counted is not None:
                self._places.leave(counted[0])
                self._params -= counted[1]
            return self._by_id.pop(subscription_id, None)

    def ended(self, subscription: Subscription) -> None:
        """Forget a subscription that its topic has ended."""
        with self._lock:
            known = self._by_id.get(subscription.id) is subscription
        if known:
            self._forget(subscription.id)

    def remove(self, subscription_id: str) -> bool:
        """End a subscription. Return whether there was one."""
        subscription = self._forget(subscription_id)
        return subscription is not None and subscription.topic.unsubscribe(subscription)

    def grant(self, subscription_id: str, events: int) -> None:
        """Accept more events of a subscription."""
        subscription = self._by_id.get(subscription_id)
        if subscription is not None:
            subscription.grant(events)

    def all(self) -> list[Subscription]:
        """Return the subscriptions."""
        with self._lock:
            return [found for found in self._by_id.values() if found is not None]

    def check_rights(self, identity: Identity | None) -> None:
        """End the subscriptions to which an identity has no right; the subscriber is told."""
        for subscription in self.all():
            try:
                subscription.topic.rights.require_subscribe(identity)
            except PortalError as error:
                if self.remove(subscription.id):
                    subscription.tell_end(error)

    def close(self) -> None:
        """End all: the connection is lost."""
        with self._lock:
            self._closed = True
        for subscription in self.all():
            self.remove(subscription.id)
