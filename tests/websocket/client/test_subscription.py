"""Subscription: order, bounds, the rules for slow readers, positions."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from portal import Address, CallTimeout
from portal.errors import OverloadedError, TransportError, ValidationError
from portal.websocket.client.subscription import Event, Gap, Subscription
from portal.websocket.events import EventReceived, GapReceived

TOPIC = Address.parse("ws://h/ws/ticks")


def made(**options: Any) -> Subscription[Any]:
    subscription: Subscription[Any] = Subscription(TOPIC, **options)
    subscription.on_subscribed("s-1", {"epoch": "e", "offset": 0})
    return subscription


def put(
    subscription: Subscription[Any], *offsets: int, size: int = 10, key: str | None = None, epoch: str = "e"
) -> bool:
    return all(subscription.on_event(EventReceived("s-1", epoch, one, {"n": one}, key), size) for one in offsets)


def items(subscription: Subscription[Any]) -> list[Any]:
    """Take what waits: offsets of events, and gaps."""
    found: list[Any] = []
    while subscription._items or subscription._dropped:
        item = subscription.next(0)
        found.append(item.offset if isinstance(item, Event) else item)
    return found


def test_events_in_order_each_once() -> None:
    subscription = made()
    assert put(subscription, 1, 2)
    assert put(subscription, 2, 3)  # again, after a reconnect
    assert subscription.next() == Event({"n": 1}, "e", 1)
    assert items(subscription) == [2, 3]
    assert subscription.position == ("e", 3)


def test_a_new_epoch_starts_its_offsets_anew() -> None:
    subscription = made()
    put(subscription, 5)
    subscription.on_gap(GapReceived("s-1", None, "epoch", "f", 0))
    put(subscription, 1, epoch="f")
    assert items(subscription) == [5, Gap(None, "epoch"), 1]
    assert subscription.position_to_resume() == {"epoch": "f", "offset": 1}


def test_the_position_is_known_before_the_first_event() -> None:
    subscription: Subscription[Any] = Subscription(TOPIC)
    assert subscription.position_to_resume() is None
    subscription.on_subscribed("s-1", {"epoch": "e", "offset": 41})
    assert subscription.position_to_resume() == {"epoch": "e", "offset": 41}
    subscription.on_subscribed("s-2", {"epoch": "e", "offset": 50})  # a reconnect does not move it: events follow
    assert subscription.position_to_resume() == {"epoch": "e", "offset": 41}


def test_a_subscription_may_go_on_after_an_earlier_one() -> None:
    subscription: Subscription[Any] = Subscription(TOPIC, since=("e", 7))
    assert subscription.position_to_resume() == {"epoch": "e", "offset": 7}
    assert subscription.position == ("e", 7)


def test_without_resume_a_reconnect_is_a_gap() -> None:
    subscription = made(resume=False)
    put(subscription, 1)
    assert subscription.position_to_resume() is None
    subscription.on_subscribed("s-2", {"epoch": "e", "offset": 9})
    put(subscription, 10)
    assert items(subscription) == [1, Gap(None, "disconnected"), 10]


def test_a_snapshot_comes_first() -> None:
    subscription: Subscription[Any] = Subscription(TOPIC)
    subscription.on_subscribed("s-1", {"epoch": "e", "offset": 3, "snapshot": [1, 2]})
    put(subscription, 4)
    assert subscription.next() == Event([1, 2], "e", 3, None, True)
    assert items(subscription) == [4]


def test_close_ends_after_what_waits() -> None:
    subscription = made(max_bytes=25)
    assert put(subscription, 1, 2)
    assert not put(subscription, 3)
    assert not put(subscription, 4)
    assert items(subscription) == [1, 2]
    with pytest.raises(OverloadedError, match="too slow") as caught:
        subscription.next()
    assert not caught.value.retryable


def test_drop_oldest_tells_of_the_gap_in_its_place() -> None:
    subscription = made(max_bytes=25, slow="drop_oldest")
    assert put(subscription, 1, 2, 3, 4, 5)
    assert items(subscription) == [Gap(3, "dropped"), 4, 5]


def test_a_gap_that_is_dropped_is_counted() -> None:
    subscription = made(max_bytes=70, slow="drop_oldest")
    subscription.on_gap(GapReceived("s-1", 5, "trimmed", "e", 5))
    put(subscription, 6, 7)
    assert items(subscription) == [Gap(5, "dropped"), 6, 7]


def test_latest_keeps_the_newest_of_each_key() -> None:
    subscription = made(slow="latest")
    for offset, key in enumerate("abaacb", 1):
        put(subscription, offset, key=key)
    assert items(subscription) == [Gap(3, "latest"), 4, 5, 6]
    put(subscription, 7, key="a")
    assert items(subscription) == [7]


def test_latest_with_too_many_keys_drops_the_oldest() -> None:
    subscription = made(slow="latest", max_bytes=25)
    for offset, key in enumerate("abcd", 1):
        put(subscription, offset, key=key)
    assert items(subscription) == [Gap(2, "dropped"), 3, 4]
    assert subscription._bytes == 0
    assert not subscription._by_key


def test_block_gives_credit_as_events_are_taken() -> None:
    granted: list[tuple[str, int]] = []
    subscription = made(slow="block", max_bytes=1, grant=lambda server_id, items: granted.append((server_id, items)))
    assert subscription.credit == 256
    put(subscription, *range(1, 257))
    assert items(subscription) == list(range(1, 257))
    assert granted == [("s-1", 128), ("s-1", 128)]


def test_one_event_may_be_larger_than_the_bound() -> None:
    subscription = made(max_bytes=10)
    assert put(subscription, 1, size=1000)
    assert items(subscription) == [1]


def test_the_reader_waits_for_an_event_and_for_the_end() -> None:
    subscription = made()
    with pytest.raises(CallTimeout):
        subscription.next(0)
    taken: list[Any] = []
    thread = threading.Thread(target=lambda: taken.extend(subscription))
    thread.start()
    put(subscription, 1)
    subscription.on_end(None)
    thread.join(20.0)
    assert taken == [Event({"n": 1}, "e", 1)]
    assert subscription.next() is None


def test_an_error_of_the_server_is_raised_after_the_events() -> None:
    subscription = made()
    put(subscription, 1)
    subscription.on_end(TransportError("gone"))
    subscription.on_end(None)
    assert items(subscription) == [1]
    with pytest.raises(TransportError):
        subscription.next()


def test_a_subscription_that_is_not_confirmed() -> None:
    subscription: Subscription[Any] = Subscription(TOPIC)
    assert not subscription.wait_until_begun(0)
    subscription.on_end(TransportError("no"))
    with pytest.raises(TransportError):
        subscription.wait_until_begun(0)


def test_close_drops_what_waits_and_ends_it_on_the_server() -> None:
    closed: list[Any] = []
    subscription = made(close=closed.append)
    put(subscription, 1)
    with subscription:
        pass
    subscription.close()
    assert closed == [subscription, subscription]
    assert list(subscription) == []
    assert subscription.closed
    assert not put(subscription, 2)


def test_data_that_does_not_fit_is_an_error_of_one_event() -> None:
    def load(data: Any) -> int:
        if data["n"] == 2:
            raise ValidationError("no")
        return int(data["n"])

    subscription = made(load=load)
    put(subscription, 1, 2, 3)
    assert subscription.next() == Event(1, "e", 1)
    with pytest.raises(ValidationError):
        subscription.next()
    assert subscription.next() == Event(3, "e", 3)


def test_a_reader_in_another_thread_is_woken() -> None:
    subscription, woken = made(), []
    put(subscription, 1)
    subscription.on_change(lambda: woken.append(subscription.waiting))
    put(subscription, 2)
    assert woken == [True, True]


def test_the_repr_names_the_address() -> None:
    subscription = made()
    assert repr(subscription) == f"<Subscription {subscription.address}: open>"
    subscription.close()
    assert repr(subscription) == f"<Subscription {subscription.address}: ended>"
