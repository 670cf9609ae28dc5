"""The subscriptions of one connection."""

from __future__ import annotations

from contextlib import suppress

import pytest

from portal.context import Identity
from portal.errors import OverloadedError, PortalError, RateLimitError, RegistryError
from portal.websocket.server.subscription_places import SubscriptionPlaces
from portal.websocket.server.subscriptions import Subscriptions
from portal.websocket.topics.subscription import Subscription
from portal.websocket.topics.topic import Topic
from tests.support.topic_sinks import Reader


def places() -> SubscriptionPlaces:
    return SubscriptionPlaces(100, 100)


def test_the_subscriber_is_the_client() -> None:
    topic, reader = Topic("ticks"), Reader()
    own = Subscriptions(reader, "c1", "192.0.2.1", 5, places())
    first = own.add(topic, Identity("ann"), {"a": 1}).subscription
    second = own.add(topic, None, {}).subscription
    assert (first.subscriber.client, second.subscriber.client) == ("identity:ann", "network:192.0.2.1")
    assert (first.subscriber.connection, first.subscriber.params) == ("c1", {"a": 1})
    assert own.all() == [first, second]


def test_a_failed_subscribe_takes_no_place() -> None:
    def snapshot() -> object:
        raise RegistryError("no state")

    own = Subscriptions(Reader(), "c1", "", 1, places())
    with pytest.raises(RegistryError):
        own.add(Topic("ticks", snapshot=snapshot), None, {})
    assert len(own) == 0
    own.add(Topic("ticks"), None, {})


def test_a_connection_that_is_lost_while_a_topic_is_asked_has_no_subscription() -> None:
    topic = Topic("ticks", snapshot=lambda: own.close())
    own = Subscriptions(Reader(), "c1", "", 5, places())
    own.add(topic, None, {})
    assert topic.subscriptions == ()


def test_a_client_has_a_limit_on_all_its_connections() -> None:
    topic, counted = Topic("ticks"), SubscriptionPlaces(100, 2)
    one = Subscriptions(Reader(), "c1", "192.0.2.1", 5, counted)
    two = Subscriptions(Reader(), "c2", "192.0.2.1", 5, counted)
    first = one.add(topic, None, {}).subscription
    two.add(topic, None, {})
    for full in (one, two):
        with pytest.raises(RateLimitError, match="a client must have at most 2 subscriptions"):
            full.add(topic, None, {})
    two.add(topic, Identity("ann"), {})  # another client
    assert counted.stats() == {"open": 3, "clients": 2, "rejected": 2}
    one.remove(first.id)
    two.add(topic, None, {})


@pytest.mark.parametrize(
    "how", ["closed", "ended by the topic", "ended before the response", "failed", "lost", "no right"]
)
def test_each_end_gives_the_place_back(how: str) -> None:
    def snapshot() -> object:
        if how == "failed":
            raise RegistryError("no state")
        if how == "lost":
            own.close()
        if how == "ended before the response":
            topic.close()
        return None

    class Connection(Reader):
        def completed(self, subscription: Subscription, error: PortalError | None) -> None:
            own.ended(subscription)

    counted = SubscriptionPlaces(1, 1)
    own = Subscriptions(Connection(), "c1", "192.0.2.1", 5, counted)
    topic = Topic("ticks", scopes=["read"], snapshot=snapshot)
    with suppress(RegistryError):
        own.add(topic, Identity("ann", frozenset({"read"})), {}).subscription.release()
    if how == "closed":
        own.close()
    elif how == "ended by the topic":
        topic.close()
    elif how == "no right":
        own.check_rights(Identity("ann"))
    assert len(own) == 0
    assert counted.stats() == {"open": 0, "clients": 0, "rejected": 0}


def test_all_clients_together_have_a_limit() -> None:
    topic, counted = Topic("ticks"), SubscriptionPlaces(1, 1)
    Subscriptions(Reader(), "c1", "192.0.2.1", 5, counted).add(topic, None, {})
    other = Subscriptions(Reader(), "c2", "192.0.2.2", 5, counted)
    with pytest.raises(OverloadedError, match="all clients must have at most 1 subscriptions"):
        other.add(topic, None, {})
    assert len(other) == 0


def test_the_parameters_of_a_connection_are_bounded() -> None:
    topic = Topic("ticks", params=dict[str, str])
    own = Subscriptions(Reader(), "c1", "192.0.2.1", 5, places(), max_params=30)
    first = own.add(topic, None, {"a": "x" * 10}).subscription
    with pytest.raises(OverloadedError, match="must have at most 30 bytes"):
        own.add(topic, None, {"a": "x" * 10})
    own.add(topic, None, {})  # takes none of it
    own.remove(first.id)
    own.add(topic, None, {"a": "x" * 20})
