"""SubscriptionTable: ids of the server, and subscriptions on the next connection."""

from __future__ import annotations

from typing import Any

from portal import Address
from portal.errors import OverloadedError, PortalError, ProtocolError, RegistryError
from portal.websocket.client.exchange import Control
from portal.websocket.client.subscription import Subscription
from portal.websocket.client.subscriptions import SubscriptionTable
from portal.websocket.events import CompleteReceived, EventReceived, GapReceived, Ignored

TOPIC = Address.parse("ws://h/ws/ticks")
RESULT = {"subscription": "s-1", "epoch": "e", "offset": 0}


class Wire:
    def __init__(self, fails: PortalError | None = None) -> None:
        self.sent: list[Control] = []
        self.notes: list[tuple[str, Any]] = []
        self.fails = fails
        self.table = SubscriptionTable(self.send, lambda method, params: self.notes.append((method, params)))

    def send(self, control: Control) -> None:
        if self.fails is not None:
            raise self.fails
        self.sent.append(control)

    def subscribed(self, **options: Any) -> Subscription[Any]:
        subscription: Subscription[Any] = Subscription(TOPIC, **options)
        self.table.add(subscription)
        self.table.request(subscription)
        return subscription


def event(offset: int, subscription: str = "s-1") -> EventReceived:
    return EventReceived(subscription, "e", offset, offset, None)


def test_events_reach_their_subscription() -> None:
    wire = Wire()
    subscription = wire.subscribed(params={"symbol": "X"}, slow="block")
    assert wire.sent[0].request(1) == ("rpc.subscribe", {"topic": "ticks", "params": {"symbol": "X"}, "credit": 256})
    wire.sent[0].finish(RESULT, None)
    wire.table.handle(event(1), 10)
    wire.table.handle(event(1, "other"), 10)
    wire.table.handle(GapReceived("s-1", 2, "dropped", "e", 3), 10)
    wire.table.handle(Ignored("late", 1), 10)
    wire.table.handle(CompleteReceived("s-1", None), 10)
    assert [str(type(item).__name__) for item in subscription] == ["Event", "Gap"]
    assert len(wire.table) == 0


def test_the_next_connection_resumes() -> None:
    wire = Wire()
    subscription = wire.subscribed()
    wire.sent[0].finish(RESULT, None)
    wire.table.handle(event(4), 10)
    wire.table.lost()
    wire.table.handle(event(5), 10)  # of the old connection
    for one in wire.table:
        wire.table.request(one)
    assert wire.sent[1].request(1)[1] == {"topic": "ticks", "from": {"epoch": "e", "offset": 4}}
    wire.sent[1].finish(RESULT | {"subscription": "s-9"}, None)
    wire.table.handle(event(5, "s-9"), 10)
    assert subscription.next() is not None
    wire.table.remove(subscription)
    wire.table.remove(subscription)
    assert wire.notes == [("rpc.unsubscribe", {"subscription": "s-9"})]


def test_a_final_error_ends_every_subscription() -> None:
    wire = Wire()
    subscriptions = [wire.subscribed(), wire.subscribed()]
    wire.sent[0].finish(RESULT, None)
    wire.table.lost(PortalError("no access"))
    assert len(wire.table) == 0
    for one in subscriptions:
        assert "no access" in str(one.error)


def test_a_subscription_closed_before_the_response_is_ended_on_the_server() -> None:
    wire = Wire()
    subscription = wire.subscribed()
    wire.table.remove(subscription)
    assert wire.notes == []
    wire.sent[0].finish(RESULT, None)
    assert wire.notes == [("rpc.unsubscribe", {"subscription": "s-1"})]


def test_a_rejected_or_malformed_response_ends_it() -> None:
    for result, error in ((None, RegistryError("no topic")), ({}, None), (None, None), ({"subscription": 5}, None)):
        wire = Wire()
        subscription = wire.subscribed()
        wire.sent[0].finish(result, error)
        assert subscription.closed
        assert isinstance(subscription._error, RegistryError if error else ProtocolError)
        assert len(wire.table) == 0


def test_a_request_that_cannot_be_sent_ends_it() -> None:
    subscription = Wire(OverloadedError("too many")).subscribed()
    assert isinstance(subscription._error, OverloadedError)


def test_a_reader_that_is_too_slow_is_unsubscribed() -> None:
    wire = Wire()
    subscription = wire.subscribed(max_bytes=10)
    wire.sent[0].finish(RESULT, None)
    for offset in (1, 2, 3):
        wire.table.handle(event(offset), 10)
    assert wire.notes == [("rpc.unsubscribe", {"subscription": "s-1"})]
    assert subscription.closed


def test_all_end_with_the_link() -> None:
    wire = Wire()
    first, second = wire.subscribed(), wire.subscribed()
    wire.table.end_all(None)
    assert first.closed
    assert second.closed
