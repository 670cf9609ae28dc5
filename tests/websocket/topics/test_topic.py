"""Topic: publish, subscribe, resume, and what happens to subscribers that read slowly."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest

from portal.context import Identity
from portal.errors import ConfigError, OverloadedError, PortalError, RegistryError, ValidationError
from portal.websocket.topics.event import Offset, Retain
from portal.websocket.topics.subscription import Subscriber
from portal.websocket.topics.topic import Topic
from tests.support.clocks import Clock
from tests.support.topic_sinks import Reader


def publish(topic: Topic, *data: Any) -> Offset:
    for one in data:
        offset = topic.publish(one)
    return offset


def test_subscribers_get_what_is_published_from_then_on() -> None:
    topic = Topic("ticks")
    publish(topic, 1)
    first, second = Reader(), Reader()
    found = first.subscribe(topic)
    assert found.to_json() == {"subscription": "ticks", "epoch": topic.position.epoch, "offset": 1, "recovered": False}
    publish(topic, 2)
    second.subscribe(topic)
    offset = publish(topic, 3)
    assert (first.short, second.short) == ([2, 3], [3])
    assert first.position == second.position == offset == topic.position


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), OSError("injected")])
def test_a_subscriber_that_fails_gets_an_error_and_the_others_the_event(error: Exception) -> None:
    class Failing(Reader):
        def wake(self, subscription: Any) -> None:
            if self.subscription is not None and not subscription.held:
                raise error

    topic = Topic("ticks")
    readers = [Reader(), Reader(), Reader()]
    readers[0].subscribe(topic)
    failing = Failing()
    failing.subscription = object()
    found = topic.subscribe(Subscriber("network:test"), failing)
    found.subscription.held = False
    for reader in readers[1:]:
        reader.subscribe(topic)
    publish(topic, 1, 2)
    assert [reader.short for reader in readers] == [[1, 2]] * 3
    assert failing.ended == "completed"
    assert failing.error is not None
    assert failing.error.message == "internal error"
    assert len(topic.subscriptions) == 3


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_the_others_get_the_event_although_the_process_is_to_end(error: BaseException) -> None:
    class Failing(Reader):
        def wake(self, subscription: Any) -> None:
            if not subscription.held:
                raise error

    topic = Topic("ticks")
    readers = [Reader(), Reader()]
    readers[0].subscribe(topic)
    topic.subscribe(Subscriber("network:test"), Failing()).subscription.held = False
    readers[1].subscribe(topic)
    with pytest.raises(type(error)):
        topic.publish(1)
    assert [reader.short for reader in readers] == [[1], [1]]
    topic.publish(2)
    assert [reader.short for reader in readers] == [[1, 2], [1, 2]]


def test_a_subscriber_that_cannot_be_told_of_the_end_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Reader):
        def completed(self, subscription: Any, error: Any) -> None:
            raise MemoryError

    topic = Topic("ticks")
    readers = [Reader(), Failing(), Reader()]
    for reader in readers:
        reader.subscribe(topic)
    topic.close()
    assert [reader.ended for reader in readers] == ["completed", "", "completed"]
    assert topic.subscriptions == ()
    assert "is not told of the end" in caplog.text


def test_a_message_is_made_once_for_all_subscribers() -> None:
    topic = Topic("ticks")
    readers = [Reader(reading=False) for _ in range(3)]
    for reader in readers:
        reader.subscribe(topic)
    publish(topic, 1)
    texts = [reader.subscription.take() for reader in readers]
    assert texts[0] is not None
    assert texts[0] is texts[1] is texts[2]


def test_nothing_is_taken_before_the_response_to_the_subscribe() -> None:
    topic = Topic("ticks")
    reader = Reader()
    found = topic.subscribe(Subscriber("network:test"), reader)
    publish(topic, 1)
    assert reader.messages == []
    found.subscription.release()
    assert reader.short == [1]


def test_one_that_received_nothing_yet_can_resume() -> None:
    topic = Topic("ticks")
    publish(topic, 1, 2)
    position = Reader().subscribe(topic).position
    publish(topic, 3, 4)
    reader = Reader()
    assert reader.subscribe(topic, after=position).recovered
    assert reader.short == [3, 4]


def test_a_trimmed_ring_is_a_gap() -> None:
    topic = Topic("ticks", retain=Retain(events=3))
    position = publish(topic, 1)
    publish(topic, 2, 3, 4, 5, 6)
    reader = Reader()
    assert not reader.subscribe(topic, after=position).recovered
    assert reader.short == [("gap", 2, "trimmed"), 4, 5, 6]
    assert reader.messages[0]["offset"] == 3
    assert topic.stats()["missed"] == 2


def test_a_changed_epoch_is_a_gap() -> None:
    """The topic of a restarted server has its own epoch."""
    before, after = Topic("ticks"), Topic("ticks")
    position = publish(before, 1, 2)
    publish(after, 3)
    reader = Reader()
    assert not reader.subscribe(after, after=position).recovered
    assert reader.short == [("gap", None, "epoch"), 3]
    assert reader.messages[0]["epoch"] == after.position.epoch


@pytest.mark.parametrize("offset", [3, 10**9, -1])
def test_an_offset_that_was_never_given_is_a_gap(offset: int) -> None:
    topic = Topic("ticks")
    publish(topic, 1, 2)
    reader = Reader()
    found = reader.subscribe(topic, after=Offset(topic.position.epoch, offset))
    assert not found.recovered
    assert reader.short == [("gap", None, "epoch"), 1, 2]


def test_old_events_are_not_resumed() -> None:
    clock = Clock()
    topic = Topic("ticks", retain=Retain(age=10), clock=clock)
    position = publish(topic, 1)
    publish(topic, 2)
    clock.now += 5
    publish(topic, 3)
    clock.now += 6
    reader = Reader()
    reader.subscribe(topic, after=position)
    assert reader.short == [("gap", 1, "trimmed"), 3]


# slow subscribers


def test_close_ends_a_subscriber_that_misses_events_and_sends_nothing_more() -> None:
    topic = Topic("ticks", retain=Retain(events=2), slow="close")
    slow, quick = Reader(reading=False), Reader()
    slow.subscribe(topic)
    quick.subscribe(topic)
    publish(topic, 1, 2)
    assert slow.ended == ""
    publish(topic, 3)
    assert slow.ended == "slow"
    slow.read()
    assert slow.messages == []
    assert quick.short == [1, 2, 3]
    assert (topic.stats()["closed_slow"], topic.stats()["subscribers"]) == (1, 1)


def test_drop_oldest_tells_of_the_gap() -> None:
    topic = Topic("ticks", retain=Retain(events=2), slow="drop_oldest")
    slow = Reader(reading=False)
    slow.subscribe(topic)
    publish(topic, 1, 2, 3, 4)
    slow.read(most=2)
    assert slow.short == [("gap", 2, "dropped"), 3]
    publish(topic, 5, 6, 7)
    slow.read()
    assert slow.short[2:] == [("gap", 2, "dropped"), 6, 7]
    assert topic.stats()["missed"] == 4


def test_latest_sends_the_last_event_of_each_key() -> None:
    topic = Topic("ticks", slow="latest", key="symbol")
    slow = Reader(reading=False)
    slow.subscribe(topic)
    for symbol, price in [("A", 1), ("B", 1), ("A", 2), ("A", 3), ("C", 1), ("B", 2)]:
        topic.publish({"symbol": symbol, "price": price})
    slow.read()
    assert [one if isinstance(one, tuple) else (one["symbol"], one["price"]) for one in slow.short] == [
        ("gap", 3, "latest"),
        ("A", 3),
        ("C", 1),
        ("B", 2),
    ]


def test_events_of_clients_have_the_key_of_the_topic() -> None:
    @dataclass
    class Tick:
        symbol: str
        price: int

    for key in ("symbol", lambda tick: tick.symbol):
        topic = Topic("ticks", item=Tick, slow="latest", key=key)
        slow = Reader(reading=False)
        slow.subscribe(topic)
        for price in (1, 2, 3):
            topic.publish_json({"symbol": "A", "price": price})
        topic.publish_json({"symbol": "A", "price": 4}, key="another")
        slow.read()
        assert slow.short == [("gap", 2, "latest"), {"symbol": "A", "price": 3}, {"symbol": "A", "price": 4}]


def test_latest_sends_all_to_one_that_keeps_up() -> None:
    topic = Topic("ticks", slow="latest", key=lambda data: "k")
    reader = Reader()
    reader.subscribe(topic)
    publish(topic, 1, 2, 3)
    assert reader.short == [1, 2, 3]


def test_events_without_a_key_do_not_supersede_each_other() -> None:
    topic = Topic("ticks", slow="latest")
    slow = Reader(reading=False)
    slow.subscribe(topic)
    publish(topic, 1, 2)
    topic.publish(3, key="a")
    topic.publish(4, key="a")
    slow.read()
    assert slow.short == [1, 2, ("gap", 1, "latest"), 4]


def test_an_event_for_another_client_does_not_supersede() -> None:
    topic = Topic("ticks", slow="latest")
    ann = Reader(reading=False)
    ann.subscribe(topic, client="identity:ann")
    topic.publish("all", key="k")
    topic.publish("for ann", key="k", to="identity:ann")
    topic.publish("for bob", key="k", to="identity:bob")
    ann.read()
    assert ann.short == ["all", "for ann"]


def test_block_waits_for_the_slowest_and_loses_nothing() -> None:
    topic = Topic("ticks", retain=Retain(events=2), slow="block")
    slow = Reader(reading=False)
    slow.subscribe(topic)
    publish(topic, 1, 2)
    done = threading.Event()

    def work() -> None:
        publish(topic, 3, 4, 5)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        slow.read(most=1)
    thread.join()
    slow.read()
    assert slow.short == [1, 2, 3, 4, 5]


def test_block_ends_a_subscriber_that_reads_nothing_for_too_long() -> None:
    topic = Topic("ticks", retain=Retain(events=1), slow="block", max_wait=0.01)
    slow, quick = Reader(reading=False), Reader()
    slow.subscribe(topic)
    quick.subscribe(topic)
    publish(topic, 1, 2)
    assert (slow.ended, quick.short) == ("slow", [1, 2])


def test_block_goes_on_when_the_slow_subscriber_leaves() -> None:
    topic = Topic("ticks", retain=Retain(events=1), slow="block", max_wait=60)
    slow = Reader(reading=False)
    slow.subscribe(topic)
    publish(topic, 1)
    thread = threading.Thread(target=publish, args=(topic, 2))
    thread.start()
    topic.unsubscribe(slow.subscription)
    thread.join(10)
    assert not thread.is_alive()


def test_block_does_not_hold_a_thread_that_serves_others() -> None:
    topic = Topic("ticks", retain=Retain(events=1), slow="block", max_wait=60)
    slow = Reader(reading=False)
    slow.subscribe(topic)
    publish(topic, 1)
    found: list[BaseException] = []

    def work() -> None:
        try:
            publish(topic, 2)
        except OverloadedError as error:
            found.append(error)

    thread = threading.Thread(target=work, name="portal-serve-1")
    thread.start()
    thread.join(10)
    assert "1 subscribers of ticks are too slow" in str(found[0])
    slow.read()
    assert slow.short == [1]


# credit, audience, keys


def test_credit_bounds_what_is_taken() -> None:
    topic = Topic("ticks")
    reader = Reader()
    reader.subscribe(topic, credit=1)
    publish(topic, 1, 2, 3)
    assert reader.short == [1]
    reader.subscription.grant(1)
    assert reader.short == [1, 2]
    reader.subscription.grant(5)
    publish(topic, 4)
    assert reader.short == [1, 2, 3, 4]


def test_a_gap_needs_no_credit() -> None:
    topic = Topic("ticks", retain=Retain(events=1), slow="drop_oldest")
    reader = Reader()
    reader.subscribe(topic, credit=0)
    publish(topic, 1, 2, 3)
    reader.read()
    assert reader.short[-1:] == [("gap", 1, "dropped")]
    reader.subscription.grant(1)
    assert reader.short[-1] == 3


def test_an_event_for_one_client_or_for_a_test() -> None:
    topic = Topic("ticks", params={"type": "object"})
    ann, bob = Reader(), Reader()
    ann.subscribe(topic, client="identity:ann", identity=Identity("ann"), params={"floor": 1})
    bob.subscribe(topic, client="identity:bob", params={"floor": 2})
    topic.publish("all")
    topic.publish("ann", to="identity:ann")
    topic.publish("second", to=lambda subscriber: subscriber.params["floor"] == 2)
    topic.publish("failing", to=lambda subscriber: subscriber.identity.name == "ann")  # type: ignore[union-attr]
    assert ann.short == ["all", "ann", "failing"]
    assert bob.short == ["all", "second"]


def test_events_for_others_are_no_gap() -> None:
    topic = Topic("ticks")
    position = publish(topic, 1)
    topic.publish("secret", to="identity:ann")
    publish(topic, 2)
    reader = Reader()
    assert reader.subscribe(topic, after=position).recovered
    assert reader.short == [2]


@dataclass
class Tick:
    symbol: str
    price: float


def test_data_is_of_the_type_of_the_items() -> None:
    topic = Topic("ticks", item=Tick, key="symbol")
    reader = Reader()
    reader.subscribe(topic)
    topic.publish(Tick("A", 1.5))
    assert reader.short == [{"symbol": "A", "price": 1.5}]
    assert reader.messages[0]["key"] == "A"
    with pytest.raises(ValidationError):
        topic.publish(3)
    assert topic.position.offset == 1


def test_a_key_may_be_given() -> None:
    topic = Topic("ticks", key="symbol")
    reader = Reader()
    reader.subscribe(topic)
    topic.publish({"symbol": "A"}, key="B")
    topic.publish({})
    assert [one.get("key") for one in reader.messages] == ["B", None]
    with pytest.raises(ConfigError, match=r"topic\.key"):
        topic.publish({}, key=3)  # type: ignore[arg-type]


# snapshots


def test_a_snapshot_comes_before_the_events_that_follow_it() -> None:
    state: list[int] = []
    topic: Topic

    def snapshot() -> Any:
        found = list(state), topic.position
        state.append(99)
        publish(topic, 99)  # a publisher that is quicker than the subscriber
        return found

    topic = Topic("ticks", snapshot=snapshot)
    for number in (1, 2):
        state.append(number)
        publish(topic, number)
    reader = Reader()
    found = reader.subscribe(topic)
    assert found.to_json()["snapshot"] == [1, 2]
    assert found.position.offset == 2
    publish(topic, 3)
    assert reader.short == [99, 3]


def test_a_snapshot_without_an_offset_loses_nothing() -> None:
    topic: Topic

    def snapshot() -> Any:
        publish(topic, 2)
        return {"state": 2}

    topic = Topic("ticks", snapshot=snapshot)
    publish(topic, 1)
    reader = Reader()
    assert reader.subscribe(topic).to_json()["offset"] == 1
    assert reader.short == [2]


def test_one_that_resumes_without_a_gap_gets_no_snapshot() -> None:
    topic = Topic("ticks", retain=Retain(events=2), snapshot=lambda: "state")
    position = publish(topic, 1)
    publish(topic, 2)
    assert "snapshot" not in Reader().subscribe(topic, after=position).to_json()
    publish(topic, 3, 4)
    reader = Reader()
    found = reader.subscribe(topic, after=position)
    assert found.to_json()["snapshot"] == "state"
    assert found.position.offset == 4
    assert reader.short == [("gap", 3, "trimmed")]  # the state makes up for them, but they were missed


def test_a_snapshot_that_fails_leaves_no_subscription() -> None:
    def snapshot() -> Any:
        raise RegistryError("no state")

    topic = Topic("ticks", snapshot=snapshot)
    with pytest.raises(RegistryError):
        Reader().subscribe(topic)
    assert topic.subscriptions == ()


# the end


def test_the_end_of_a_subscription() -> None:
    topic = Topic("ticks")
    reader = Reader()
    reader.subscribe(topic)
    assert topic.unsubscribe(reader.subscription)
    assert not topic.unsubscribe(reader.subscription)
    publish(topic, 1)
    assert reader.messages == []


def test_the_end_of_a_topic_is_told() -> None:
    topic = Topic("ticks")
    reader = Reader()
    reader.subscribe(topic)
    error = RegistryError("the topic ticks was removed")
    topic.close(error)
    assert (reader.ended, reader.error) == ("completed", error)
    assert topic.stats()["subscribers"] == 0


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"slow": "wait"}, "topic.slow"),
        ({"slow": True}, "topic.slow"),
        ({"retain": 5}, "topic.retain"),
        ({"key": 5}, "topic.key"),
        ({"snapshot": 5}, "topic.snapshot"),
        ({"max_wait": 0}, "topic.max_wait"),
        ({"scopes": "read"}, "topic.scopes"),
        ({"publish_scopes": "read"}, "topic.publish_scopes"),
    ],
)
def test_wrong_settings_are_rejected(options: Any, setting: str) -> None:
    with pytest.raises(ConfigError, match=setting):
        Topic("ticks", **options)


def test_a_topic_of_no_portal_has_no_address() -> None:
    with pytest.raises(ConfigError):
        _ = Topic("ticks").address


def test_many_publishers_and_subscribers() -> None:
    """Each subscriber gets every event once and in order, whoever publishes."""
    topic = Topic("ticks", retain=Retain(events=10_000))
    readers = [Reader() for _ in range(5)]
    start = threading.Barrier(9)

    def publish_many(number: int) -> None:
        start.wait(10)
        for count in range(200):
            topic.publish([number, count])

    def subscribe(reader: Reader) -> None:
        start.wait(10)
        reader.subscribe(topic)

    threads = [threading.Thread(target=publish_many, args=(number,)) for number in range(4)]
    threads += [threading.Thread(target=subscribe, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for reader in readers:
        reader.read()
        offsets = [one["offset"] for one in reader.messages]
        assert offsets == list(range(800 - len(offsets) + 1, 801))


@pytest.mark.parametrize("error", [None, PortalError("the shop is closed")])
def test_a_subscriber_is_told_of_an_end_after_the_response_to_its_subscribe(error: PortalError | None) -> None:
    topic, reader = Topic("ticks"), Reader()
    found = topic.subscribe(Subscriber("network:test"), reader)
    found.subscription.end(error)
    assert reader.ended == ""
    found.subscription.release()
    assert (reader.ended, reader.error) == ("completed", error)
    assert topic.subscriptions == ()
    found.subscription.end(PortalError("again"))
    assert reader.error is error
