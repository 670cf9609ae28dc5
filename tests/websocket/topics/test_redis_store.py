"""Topics in a real Valkey server: several processes, a server that loses its memory, and killed processes."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from portal.errors import ConfigError, OverloadedError
from portal.websocket.topics.event import Offset, Retain
from portal.websocket.topics.redis_store import RedisTopicStore
from portal.websocket.topics.topic import Topic
from tests.support import valkey
from tests.support.topic_sinks import Reader


class Waiting(Reader):
    """A reader whose messages a test can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Condition()

    def wake(self, subscription: Any) -> None:
        super().wake(subscription)
        with self.arrived:
            self.arrived.notify_all()

    def wait_for(self, *expected: Any) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.short) >= len(expected), 20), self.short
        assert self.short == list(expected)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with valkey.running() as running:
        yield running


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    with redis.Redis.from_url(server.connection_url, socket_timeout=5) as found:
        found.flushall()
        yield found


@pytest.fixture
def make_store(server: Any, client: Any) -> Iterator[Any]:
    made: list[RedisTopicStore] = []

    def make(url: str = server.connection_url, **options: Any) -> RedisTopicStore:
        made.append(RedisTopicStore(url, namespace="shop", **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


def test_two_processes_have_the_same_events(make_store: Any) -> None:
    first, second = Topic("ticks", store=make_store()), Topic("ticks", store=make_store())
    one, other = Waiting(), Waiting()
    one.subscribe(first)
    other.subscribe(second)
    offsets = [first.publish(1), second.publish(2), first.publish({"a": "é"}, key="k")]
    one.wait_for(1, 2, {"a": "é"})
    other.wait_for(1, 2, {"a": "é"})
    assert one.messages == other.messages
    assert [(found["epoch"], found["offset"]) for found in one.messages] == offsets
    assert [offset.offset for offset in offsets] == [1, 2, 3]
    assert one.messages[2]["key"] == "k"


def test_a_new_process_resumes_a_client_of_another(make_store: Any) -> None:
    topic = Topic("ticks", store=make_store())
    position = topic.publish(1)
    topic.publish(2)
    topic.publish(3, to="identity:ann")
    reader = Waiting()
    assert reader.subscribe(Topic("ticks", store=make_store()), after=position).recovered
    reader.wait_for(2)


def test_a_topic_that_is_added_while_the_thread_waits_is_read(make_store: Any) -> None:
    store = make_store()
    first = Waiting()
    first.subscribe(Topic("first", store=store))
    second = Waiting()
    topic = Topic("second", store=store)
    second.subscribe(topic)
    topic.publish(1)
    second.wait_for(1)


@pytest.mark.parametrize("retain", [Retain(events=3), Retain(bytes=3)])
def test_the_stream_is_trimmed_to_the_bounds(make_store: Any, client: Any, retain: Retain) -> None:
    topic = Topic("ticks", store=make_store(), retain=retain)
    offsets = [topic.publish(number) for number in range(8)]
    assert client.xlen("portal:topics:shop:{ticks}:events") == 3
    reader = Waiting()
    assert not reader.subscribe(Topic("ticks", store=make_store(), retain=retain), after=offsets[1]).recovered
    reader.wait_for(("gap", 3, "trimmed"), 5, 6, 7)


def test_old_entries_are_trimmed(make_store: Any, client: Any) -> None:
    topic = Topic("ticks", store=make_store(), retain=Retain(age=0.001))
    position = topic.publish(0)
    while topic.publish(1).offset - client.xlen("portal:topics:shop:{ticks}:events") < 2:
        pass
    assert not Waiting().subscribe(Topic("ticks", store=make_store()), after=position).recovered


def test_a_store_that_lost_its_memory_is_a_changed_epoch(make_store: Any, client: Any) -> None:
    topic, other = Topic("ticks", store=make_store()), Topic("ticks", store=make_store())
    reader = Waiting()
    reader.subscribe(other)
    position = [topic.publish(number) for number in range(5)][-1]
    reader.wait_for(0, 1, 2, 3, 4)
    client.flushall()
    offset = topic.publish(5)
    assert (offset.offset, offset.epoch != position.epoch) == (1, True)
    reader.wait_for(0, 1, 2, 3, 4, ("gap", None, "epoch"), 5)
    late = Waiting()
    assert not late.subscribe(Topic("ticks", store=make_store()), after=position).recovered
    late.wait_for(("gap", None, "epoch"), 5)


def test_a_store_that_lost_its_last_events_is_a_changed_epoch(make_store: Any, client: Any) -> None:
    """As after a fail-over to a replica that lagged: the offsets would be given a second time."""
    topic = Topic("ticks", store=make_store())
    reader = Waiting()
    reader.subscribe(topic)
    offsets = [topic.publish(number) for number in range(4)]
    reader.wait_for(0, 1, 2, 3)
    client.hset("portal:topics:shop:{ticks}:meta", "offset", 2)
    found = topic.publish(9)
    assert (found.epoch != offsets[0].epoch, found.offset) == (True, 1)
    reader.wait_for(0, 1, 2, 3, ("gap", None, "epoch"), 9)


def test_a_lost_hash_alone_begins_an_epoch_after_the_entries(make_store: Any, client: Any) -> None:
    topic = Topic("ticks", store=make_store())
    reader = Waiting()
    reader.subscribe(topic)
    topic.publish(1)
    reader.wait_for(1)
    client.delete("portal:topics:shop:{ticks}:meta")
    topic.publish(2)
    reader.wait_for(1, ("gap", None, "epoch"), 2)


def test_the_thread_reads_on_after_the_store_was_away() -> None:
    with valkey.running() as server:
        store = RedisTopicStore(server.connection_url, namespace="shop", pause=lambda seconds: gone.set())
        gone = threading.Event()
        topic = Topic("ticks", store=store)
        reader = Waiting()
        reader.subscribe(topic)
        topic.publish(1)
        reader.wait_for(1)
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        assert gone.wait(20)
        with pytest.raises(OverloadedError) as caught:
            topic.publish(2)
        assert caught.value.delivery == "unknown"
        store.close()
    with pytest.raises(OverloadedError):
        topic.publish(3)


def test_an_entry_of_another_writer_is_skipped(make_store: Any, client: Any) -> None:
    topic = Topic("ticks", store=make_store())
    reader = Waiting()
    reader.subscribe(topic)
    topic.publish(1)
    reader.wait_for(1)
    client.xadd("portal:topics:shop:{ticks}:events", {"x": 1}, id="9999999999999999-1")
    topic.close()
    topic.close()


def test_namespaces_are_apart(server: Any, client: Any, make_store: Any) -> None:
    other = RedisTopicStore(server.connection_url, namespace="other")
    try:
        position = Topic("ticks", store=other).publish(1)
        assert Topic("ticks", store=make_store()).publish(2).offset == 1
        assert Topic("ticks", store=other).publish(3) == Offset(position.epoch, 2)
    finally:
        other.close()


@pytest.mark.parametrize("source", ["http://x", 5, None])
def test_wrong_sources_are_rejected(source: Any) -> None:
    with pytest.raises(ConfigError):
        RedisTopicStore(source, namespace="shop")


PUBLISHER = """
import sys
from portal.websocket.topics.redis_store import RedisTopicStore
from portal.websocket.topics.topic import Topic
from portal.websocket.topics.event import Retain
topic = Topic("ticks", store=RedisTopicStore(sys.argv[1], namespace="shop"), retain=Retain(events=int(sys.argv[2])))
print("ready", flush=True)
number = int(sys.argv[3])
for _ in sys.stdin:
    print(topic.publish(number).offset, flush=True)
    number += 1
"""

SUBSCRIBER = """
import json, sys, threading
from portal.websocket.topics.redis_store import RedisTopicStore
from portal.websocket.topics.topic import Topic
from portal.websocket.topics.event import Offset, Retain
from tests.support.topic_sinks import Reader
topic = Topic("ticks", store=RedisTopicStore(sys.argv[1], namespace="shop"), retain=Retain(events=int(sys.argv[2])))

class Printing(Reader):
    def wake(self, subscription):
        with lock:
            super().wake(subscription)
            for message in self.messages:
                print(json.dumps(message), flush=True)
            self.messages.clear()

lock = threading.Lock()
after = json.loads(sys.argv[3])
reader = Printing()
found = reader.subscribe(topic, after=None if after is None else Offset(*after))
print(json.dumps({"method": "position", "epoch": found.position.epoch, "offset": found.position.offset}), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("seed", range(3 if os.environ.get("PORTAL_LONG") else 1))
def test_killed_publishers_and_subscribers_see_each_event_once_or_a_gap(server: Any, client: Any, seed: int) -> None:
    """A publisher, a first and a resuming subscriber in three processes, with kill -9 between."""
    chance = random.Random(seed)
    url, retain = server.connection_url, "20"
    published: list[int] = []
    seen: list[int] = []
    missing = 0
    position: tuple[str, int] | None = None
    for turn in range(4):
        with ExitStack() as stack:
            publisher = stack.enter_context(valkey.program(PUBLISHER, url, retain, str(len(published))))
            assert publisher.stdout is not None
            assert publisher.stdin is not None
            publisher.stdout.readline()
            count = chance.randint(5, 40)
            for number in range(count):
                if number == count // 3:
                    subscriber = stack.enter_context(valkey.program(SUBSCRIBER, url, retain, json.dumps(position)))
                publisher.stdin.write("\n")
                publisher.stdin.flush()
                published.append(int(publisher.stdout.readline()))
            publisher.kill()
            goal = len(published) - (chance.randint(0, 3) if turn < 3 else 0)
            assert subscriber.stdout is not None
            for line in subscriber.stdout:
                message = json.loads(line)
                if message["method"] == "event":
                    seen.append(message["offset"])
                elif message["method"] == "gap":
                    missing += message["count"]
                elif position is None:
                    missing += message["offset"]  # those before the first subscription
                position = message["epoch"], max(message["offset"], 0 if position is None else position[1])
                if position[1] >= goal:
                    break
            subscriber.kill()
    assert published == list(range(1, len(published) + 1))
    assert seen == sorted(set(seen)), "each event once, in order"
    assert len(seen) + missing == len(published)
