"""Consumer.subscribe and Consumer.publish, with a server of another library."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from portal import ConfigError, Consumer, LocalPortal, RegistryError, ValidationError
from portal.websocket import Event, Reconnect, WebSocketClient
from tests.support.topic_peer import TopicPeer, topic_peer

WAIT = 20.0


class Side(Enum):
    BUY = "buy"


@dataclass
class Tick:
    symbol: str
    price: float


@pytest.fixture
def peer() -> Iterator[TopicPeer]:
    with topic_peer() as found:
        yield found


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    client = WebSocketClient(reconnect=Reconnect(initial_backoff=0.001, max_backoff=0.01), heartbeat=None)
    with Consumer(websocket=client, timeout=WAIT) as found:
        yield found


def test_events_are_loaded_into_a_type(peer: TopicPeer, consumer: Consumer) -> None:
    with consumer.subscribe(f"{peer.address}/ticks", {"symbol": "X"}, returns=Tick) as ticks:
        assert peer.subscribed == [{"topic": "ticks", "params": {"symbol": "X"}}]
        assert consumer.publish(f"{peer.address}/ticks", Tick("X", 1.5)) == ("e", 1)
        peer.publish({"symbol": 5})
        peer.publish({"symbol": "X", "price": 2.5}, key="X")
        assert ticks.next(WAIT) == Event(Tick("X", 1.5), "e", 1)
        with pytest.raises(ValidationError, match="does not fit returns=Tick"):
            ticks.next(WAIT)
        assert ticks.next(WAIT) == Event(Tick("X", 2.5), "e", 3, "X")
    peer.wait_for_subscribers(0)


def test_python_values_are_published_as_json(peer: TopicPeer, consumer: Consumer) -> None:
    address = f"{peer.address}/ticks"
    day = datetime.date(2026, 1, 31)
    with consumer.subscribe(address) as ticks:
        consumer.publish(address, {"total": Decimal("1.20"), "day": day, "side": Side.BUY, "ticks": (Tick("X", 1),)})
        assert ticks.next(WAIT).data == {
            "total": "1.20",
            "day": "2026-01-31",
            "side": "buy",
            "ticks": [{"symbol": "X", "price": 1}],
        }
    with consumer.subscribe(address, {"day": day}):
        assert peer.subscribed[-1]["params"] == {"day": "2026-01-31"}


def test_a_value_that_json_does_not_have_is_named(peer: TopicPeer, consumer: Consumer) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    for data, message in (
        ({"price": object()}, "/price: must be JSON data, got object"),
        ([float("nan")], "/0: must be a finite number, got nan"),
        (cycle, "must not be nested more than 64 levels deep"),
    ):
        with pytest.raises(ValidationError, match=message):
            consumer.publish(f"{peer.address}/ticks", data)


def test_a_lost_connection_loses_no_event(peer: TopicPeer, consumer: Consumer) -> None:
    with consumer.subscribe(f"{peer.address}/ticks") as ticks:
        peer.wait_for_subscribers(1)
        peer.publish(1)
        first = ticks.next(WAIT)
        peer.drop()
        peer.publish(2)
        peer.wait_for_requests(2)
        peer.publish(3)
        assert [first, ticks.next(WAIT), ticks.next(WAIT)] == [Event(n, "e", n) for n in (1, 2, 3)]
        position = ticks.position
    peer.publish(4)
    with consumer.subscribe(f"{peer.address}/ticks", since=position) as ticks:
        assert ticks.next(WAIT) == Event(4, "e", 4)


def test_a_callback_gets_the_events(peer: TopicPeer, consumer: Consumer) -> None:
    got: list[Any] = []
    done = threading.Event()

    def note(item: Any) -> None:
        got.append(item.data)
        if len(got) == 100:
            done.set()

    subscription = consumer.subscribe(f"{peer.address}/ticks", callback=note)
    peer.wait_for_subscribers(1)
    for number in range(100):
        peer.publish(number)
    assert done.wait(WAIT)
    assert got == list(range(100))
    subscription.close()


def test_close_of_the_consumer_ends_the_subscriptions(peer: TopicPeer, consumer: Consumer) -> None:
    ticks = consumer.subscribe(f"{peer.address}/ticks")
    consumer.close()
    assert list(ticks) == []


def test_other_schemes_have_no_topics() -> None:
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        with pytest.raises(RegistryError, match="local:// has no topics"):
            consumer.subscribe("local://ticks")
        with pytest.raises(RegistryError, match="local:// has no topics"):
            consumer.publish("local://ticks", 1)


@pytest.mark.parametrize("options", [{"slow": "later"}, {"max_bytes": 0}, {"resume": 1}, {"timeout": -1}])
def test_wrong_options_are_rejected(options: dict[str, Any], peer: TopicPeer, consumer: Consumer) -> None:
    with pytest.raises(ConfigError):
        consumer.subscribe(f"{peer.address}/ticks", **options)


def test_the_credential_of_the_consumer_is_sent_in_the_handshake(peer: TopicPeer) -> None:
    with Consumer(auth="t0ken") as consumer:
        assert consumer.call_at(f"{peer.address}/add", {"a": 1, "b": 2}) == 3
    assert peer.headers[0]["authorization"] == "Bearer t0ken"
