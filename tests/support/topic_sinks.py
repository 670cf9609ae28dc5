"""Sinks for subscriptions in tests: they take messages at once, or when they are told to."""

from __future__ import annotations

import json
import threading
from typing import Any

from portal.errors import PortalError
from portal.websocket.topics.subscription import Subscriber, Subscription
from portal.websocket.topics.topic import Topic


class Reader:
    """A subscriber that takes what it is sent, at once unless `reading` is false.

    Attributes:
        messages: the parameters of each rpc.event and rpc.gap, with the method as "method".
        ended: "slow" or "completed" once the subscription has ended.
    """

    def __init__(self, *, reading: bool = True) -> None:
        self.reading = reading
        self.messages: list[dict[str, Any]] = []
        self.ended = ""
        self.error: PortalError | None = None
        self.subscription: Any = None
        self._lock = threading.Lock()

    def subscribe(self, topic: Topic, client: str = "network:test", **options: Any) -> Any:
        """Subscribe, and return the Subscribed."""
        params = options.pop("params", {})
        found = topic.subscribe(Subscriber(client, options.pop("identity", None), params), self, **options)
        self.subscription = found.subscription
        found.subscription.release()
        return found

    def wake(self, subscription: Subscription) -> None:
        if self.reading:
            self.read(subscription)

    def read(self, subscription: Subscription | None = None, most: int = 10**9) -> None:
        """Take at most so many messages."""
        with self._lock:
            for _ in range(most):
                text = (subscription or self.subscription).take()
                if text is None:
                    return
                message = json.loads(text.data)
                self.messages.append({"method": message["method"].removeprefix("rpc."), **message["params"]})

    def slow(self, subscription: Subscription) -> None:
        self.ended = "slow"

    def completed(self, subscription: Subscription, error: PortalError | None) -> None:
        self.ended, self.error = "completed", error

    @property
    def short(self) -> list[Any]:
        """The data of each event, and ("gap", count, reason) for each gap."""
        return [
            one["data"] if one["method"] == "event" else ("gap", one["count"], one["reason"]) for one in self.messages
        ]

    @property
    def position(self) -> tuple[str, int]:
        """The position after the last message."""
        return self.messages[-1]["epoch"], self.messages[-1]["offset"]
