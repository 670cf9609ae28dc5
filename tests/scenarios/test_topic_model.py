"""A topic whose subscribers lose their connections at random: each gets each event once, or a gap in its place."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from portal.websocket.topics.event import Offset, Retain
from portal.websocket.topics.subscription import Subscriber, Subscription
from portal.websocket.topics.topic import Topic

SUBSCRIBERS = 3
KEPT = 6
numbers = st.integers(0, SUBSCRIBERS - 1)


class Reader:
    """A subscriber that comes back after each loss. It knows what it has received, and nothing else."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.position: Offset | None = None
        self.covered = 0  # the last offset that it has, or that a gap has told of
        self.subscription: Subscription | None = None
        self.connect()

    def connect(self) -> None:
        if self.subscription is None:
            found = self.topic.subscribe(Subscriber("x"), self, after=self.position)
            self.subscription = found.subscription
            if self.position is None:
                self.position, self.covered = found.position, found.position.offset
            found.subscription.release()

    def lose(self) -> None:
        if self.subscription is not None:
            self.topic.unsubscribe(self.subscription)
            self.subscription = None

    def read(self, most: int) -> None:
        for _ in range(most):
            message = None if self.subscription is None else self.subscription.take()
            if message is None:
                return
            self.take(json.loads(message.data))

    def take(self, message: dict[str, Any]) -> None:
        params = message["params"]
        if message["method"] == "rpc.gap":
            assert params["count"] > 0
            self.covered += params["count"]
            assert params["offset"] == self.covered, "a gap counts what is missing, and nothing twice"
        else:
            self.covered += 1
            assert params["offset"] == self.covered, "each event follows the last one"
            assert params["data"] == params["offset"]
        self.position = Offset(params["epoch"], params["offset"])

    # Sink

    def wake(self, subscription: Subscription) -> None: ...

    def slow(self, subscription: Subscription) -> None:
        raise AssertionError("no rule of this topic closes")

    def completed(self, subscription: Subscription, error: object) -> None: ...


class TopicAndSubscribers(RuleBasedStateMachine):
    @initialize(slow=st.sampled_from(["drop_oldest", "latest"]))
    def begin(self, slow: Any) -> None:
        self.topic = Topic("numbers", retain=Retain(events=KEPT), slow=slow)
        self.published = 0
        self.readers = [Reader(self.topic) for _ in range(SUBSCRIBERS)]

    @rule(times=st.integers(1, 10), key=st.sampled_from([None, "a", "b"]))
    def publish(self, times: int, key: str | None) -> None:
        for _ in range(times):
            self.published += 1
            assert self.topic.publish(self.published, key=key).offset == self.published

    @rule(reader=numbers, most=st.integers(1, 10))
    def read(self, reader: int, most: int) -> None:
        self.readers[reader].read(most)

    @rule(reader=numbers)
    def lose(self, reader: int) -> None:
        self.readers[reader].lose()

    @rule(reader=numbers)
    def connect(self, reader: int) -> None:
        self.readers[reader].connect()

    @invariant()
    def nothing_is_left_behind(self) -> None:
        if hasattr(self, "topic"):
            assert len(self.topic.subscriptions) == sum(one.subscription is not None for one in self.readers)
            assert self.topic.stats()["kept"] <= KEPT

    def teardown(self) -> None:
        for reader in getattr(self, "readers", []):
            reader.connect()
            reader.read(1000)
            assert reader.covered == self.published


TestTopicAndSubscribers = TopicAndSubscribers.TestCase
TestTopicAndSubscribers.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
