"""Subscription against a model: every event is sent once, or told as missing, whatever the order of steps."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from portal.websocket.topics.event import Offset, Retain
from portal.websocket.topics.topic import Topic
from tests.support.topic_sinks import Reader


class SubscriberWhoseConnectionDrops(RuleBasedStateMachine):
    """A subscriber of a small ring that reads, loses its connection after any message, and resumes.

    Messages that were taken but not received are lost with the connection. The server may restart.
    """

    @initialize(slow=st.sampled_from(["drop_oldest", "latest"]), events=st.integers(1, 6), size=st.integers(1, 30))
    def begin(self, slow: Any, events: int, size: int) -> None:
        self.options: dict[str, Any] = {"slow": slow, "retain": Retain(events=events, bytes=size)}
        self.topic = Topic("ticks", **self.options)
        self.published: dict[tuple[str, int], Any] = {}
        self.seen: dict[tuple[str, int], int] = {}
        self.position: Offset | None = None
        self.epochs = [self.topic.position.epoch]
        self.unknown = False  # whether a gap told of a lost epoch
        self.missing = 0
        self.reader: Reader | None = None
        self.began = 0  # events published before the first subscription

    @rule(key=st.sampled_from([None, "a", "b"]), length=st.integers(0, 9))
    def publish(self, key: str | None, length: int) -> None:
        data = [len(self.published), "x" * length]
        offset = self.topic.publish(data, key=key)
        assert tuple(offset) not in self.published
        self.published[tuple(offset)] = data
        if self.position is None:
            self.began += 1

    @rule()
    def connect(self) -> None:
        if self.reader is None:
            self.reader = Reader(reading=False)
            found = self.reader.subscribe(self.topic, after=self.position)
            if self.position is None:
                self.position = found.position

    @rule(most=st.integers(1, 5))
    def read(self, most: int) -> None:
        if self.reader is not None:
            self.reader.messages.clear()
            self.reader.read(most=most)
            self.receive(self.reader.messages)

    def receive(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            place = Offset(message["epoch"], message["offset"])
            assert self.position is not None
            if message["method"] == "event":
                assert message["data"] == self.published[tuple(place)]
                self.seen[tuple(place)] = self.seen.get(tuple(place), 0) + 1
                assert place.epoch == self.position.epoch
                assert place.offset > self.position.offset, "an event twice or out of order"
            elif message["count"] is None:
                self.unknown = True
            else:
                assert message["count"] > 0
                self.missing += message["count"]
            self.position = place

    @rule(received=st.integers(0, 3), taken=st.integers(0, 5))
    def lose_the_connection(self, received: int, taken: int) -> None:
        if self.reader is not None:
            self.reader.messages.clear()
            self.reader.read(most=taken)
            self.receive(self.reader.messages[:received])
            self.topic.unsubscribe(self.reader.subscription)
            self.reader = None

    @rule(odds=st.integers(0, 9))
    def restart_the_server(self, odds: int) -> None:
        if odds == 0:
            self.reader = None
            self.topic = Topic("ticks", **self.options)
            self.epochs.append(self.topic.position.epoch)

    @invariant()
    def nothing_comes_twice(self) -> None:
        assert all(count == 1 for count in getattr(self, "seen", {}).values())

    def teardown(self) -> None:
        if not hasattr(self, "topic") or self.position is None:
            return
        self.connect()
        self.read(10**9)
        unseen = len(self.published) - self.began - len(self.seen)
        if len(self.epochs) == 1:
            assert not self.unknown
            assert unseen == self.missing, "each event is seen once or counted as missing"
        elif self.position.epoch == self.epochs[-1] and unseen > self.missing:
            assert self.unknown, "a lost epoch must be told"


TestSubscriber = SubscriberWhoseConnectionDrops.TestCase
TestSubscriber.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
