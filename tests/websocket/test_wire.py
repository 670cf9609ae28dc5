"""The texts of the notifications, read back by the session that gets them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portal.errors import AuthorizationError, SerializationError
from portal.websocket import wire
from portal.websocket.events import CompleteReceived, EventReceived, GapReceived, GoAwayReceived
from portal.websocket.protocol import Session


def received(text: bytes) -> Any:
    (event,) = Session().receive(text, 0.0)
    return event


@pytest.mark.parametrize("key", [None, "EURUSD", 'with "quotes" and é'])
@pytest.mark.parametrize("data", [1, None, {"a": [1, 2]}, "text", [], "}"])
def test_an_event_comes_back(data: Any, key: str | None) -> None:
    text = wire.event("ticks", "e1", 7, json.dumps(data).encode(), key)
    assert received(text) == EventReceived("ticks", "e1", 7, data, key)


def test_a_gap_comes_back() -> None:
    assert received(wire.gap("ticks", 3, "dropped", epoch="e1", offset=9)) == GapReceived(
        "ticks", 3, "dropped", "e1", 9
    )
    assert received(wire.gap("ticks", None, "epoch")) == GapReceived("ticks", None, "epoch", None, None)


def test_the_end_of_a_subscription_comes_back_with_its_error() -> None:
    assert received(wire.complete("ticks")) == CompleteReceived("ticks", None)
    event = received(wire.complete("ticks", AuthorizationError("not for you")))
    assert isinstance(event.error, AuthorizationError)
    assert event.error.message == "not for you"


def test_go_away_comes_back() -> None:
    assert received(wire.go_away("restart", 2.5, "s1")) == GoAwayReceived("restart", 2.5, "s1")
    assert received(wire.go_away("restart", 0)) == GoAwayReceived("restart", 0.0, None)


def test_the_notifications_of_calls_are_json_rpc() -> None:
    texts = [
        wire.cancel(1),
        wire.credit_for_call("a", 2),
        wire.credit_for_subscription("ticks", 3),
        wire.item(1.5, None),
    ]
    assert [json.loads(text) for text in texts] == [
        {"jsonrpc": "2.0", "method": "rpc.cancel", "params": {"id": 1}},
        {"jsonrpc": "2.0", "method": "rpc.credit", "params": {"id": "a", "items": 2}},
        {"jsonrpc": "2.0", "method": "rpc.credit", "params": {"subscription": "ticks", "items": 3}},
        {"jsonrpc": "2.0", "method": "rpc.item", "params": {"id": 1.5, "data": None}},
    ]


def test_an_item_that_json_cannot_carry_is_rejected() -> None:
    with pytest.raises(SerializationError):
        wire.item(1, float("nan"))
