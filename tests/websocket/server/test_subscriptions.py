"""The subscriptions of one connection."""

from __future__ import annotations

import pytest

from portal.context import Identity
from portal.errors import RegistryError
from portal.websocket.server.subscriptions import Subscriptions
from portal.websocket.topics.topic import Topic
from tests.support.topic_sinks import Reader


def test_the_subscriber_is_the_client() -> None:
    topic, reader = Topic("ticks"), Reader()
    own = Subscriptions(reader, "c1", "192.0.2.1", 5)
    first = own.add(topic, Identity("ann"), {"a": 1}).subscription
    second = own.add(topic, None, {}).subscription
    assert (first.subscriber.client, second.subscriber.client) == ("identity:ann", "network:192.0.2.1")
    assert (first.subscriber.connection, first.subscriber.params) == ("c1", {"a": 1})
    assert own.all() == [first, second]


def test_a_failed_subscribe_takes_no_place() -> None:
    def snapshot() -> object:
        raise RegistryError("no state")

    own = Subscriptions(Reader(), "c1", "", 1)
    with pytest.raises(RegistryError):
        own.add(Topic("ticks", snapshot=snapshot), None, {})
    assert len(own) == 0
    own.add(Topic("ticks"), None, {})


def test_a_connection_that_is_lost_while_a_topic_is_asked_has_no_subscription() -> None:
    topic = Topic("ticks", snapshot=lambda: own.close())
    own = Subscriptions(Reader(), "c1", "", 5)
    own.add(topic, None, {})
    assert topic.subscriptions == ()
