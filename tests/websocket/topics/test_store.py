"""What a topic does with the events that a store passes to it."""

from __future__ import annotations

import pytest

from portal.errors import ConfigError
from portal.websocket.topics.event import Offset, Retain, TopicEvent
from portal.websocket.topics.topic import Topic
from tests.support.topic_sinks import Reader


class Log:
    """A store of one topic in a list, for the topics of several processes."""

    def __init__(self) -> None:
        self.epoch = "e"
        self.events: list[TopicEvent] = []
        self.attached: list[Topic] = []
        self.delayed = False

    def attach(self, topic: Topic) -> None:
        self.attached.append(topic)
        self.sync(topic)

    def detach(self, topic: Topic) -> None:
        self.attached.remove(topic)

    def append(self, topic: Topic, data: bytes, key: str | None, to: str | None) -> Offset:
        event = TopicEvent(len(self.events) + 1, data, key, to)
        self.events.append(event)
        if not self.delayed:
            for one in self.attached:
                one.receive(self.epoch, [event])
        return Offset(self.epoch, event.offset)

    def sync(self, topic: Topic) -> None:
        topic.receive(self.epoch, self.events)


def test_topics_of_several_processes_have_the_same_events() -> None:
    log = Log()
    first, second = Topic("ticks", store=log), Topic("ticks", store=log)
    one, other = Reader(), Reader()
    one.subscribe(first)
    other.subscribe(second)
    first.publish(1)
    second.publish(2)
    assert one.messages == other.messages
    assert one.short == [1, 2]


def test_a_client_resumes_at_another_process() -> None:
    log = Log()
    position = Topic("ticks", store=log).publish(1)
    Topic("ticks", store=log).publish(2)
    reader = Reader()
    assert reader.subscribe(Topic("ticks", store=log), after=position).recovered
    assert reader.short == [2]


def test_a_client_that_is_ahead_of_the_process_resumes_without_a_gap() -> None:
    """It has an event that the store has not passed to this process yet."""
    log = Log()
    topic = Topic("ticks", store=log)
    Reader().subscribe(topic)
    log.delayed = True
    position = Topic("ticks", store=log).publish(1)
    reader = Reader()
    assert reader.subscribe(topic, after=position).recovered
    topic.publish(2)
    topic.receive("e", log.events)
    assert reader.short == [2]


def test_events_that_are_known_are_skipped() -> None:
    log = Log()
    topic = Topic("ticks", store=log)
    reader = Reader()
    reader.subscribe(topic)
    topic.publish(1)
    topic.receive("e", log.events)
    assert reader.short == [1]


def test_events_that_the_store_has_trimmed_are_a_gap() -> None:
    topic = Topic("ticks", store=Log(), slow="drop_oldest")
    reader = Reader()
    reader.subscribe(topic)
    topic.receive("e", [TopicEvent(4, b"4")])
    assert reader.short == [("gap", 3, "dropped"), 4]


def test_a_store_that_has_lost_its_memory_is_a_gap() -> None:
    log = Log()
    topic = Topic("ticks", store=log)
    reader = Reader()
    reader.subscribe(topic)
    topic.publish(1)
    topic.receive("f", [])
    assert reader.short == [1, ("gap", None, "epoch")]
    topic.receive("f", [TopicEvent(1, b"2")])
    assert reader.short[2:] == [2]
    assert topic.position == ("f", 1)


def test_the_memory_of_a_process_is_bounded_as_well() -> None:
    topic = Topic("ticks", store=Log(), retain=Retain(events=2))
    for number in range(5):
        topic.publish(number)
    assert topic.stats()["kept"] == 2


def test_a_store_knows_clients_and_no_tests() -> None:
    topic = Topic("ticks", store=Log())
    with pytest.raises(ConfigError, match=r"topic\.to"):
        topic.publish(1, to=lambda subscriber: True)


def test_a_store_cannot_block() -> None:
    with pytest.raises(ConfigError, match=r"topic\.slow"):
        Topic("ticks", store=Log(), slow="block")


def test_a_closed_topic_leaves_the_store() -> None:
    log = Log()
    topic = Topic("ticks", store=log)
    topic.publish(1)
    topic.close()
    assert log.attached == []
