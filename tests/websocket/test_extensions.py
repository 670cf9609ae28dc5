"""The reserved methods that a session handles by itself, without a session."""

from __future__ import annotations

from typing import Any

import pytest

from portal.errors import CallCancelled, ProtocolError
from portal.jsonrpc.messages import Request
from portal.websocket.events import (
    CallEnded,
    CancelReceived,
    CreditReceived,
    Ignored,
    ItemReceived,
    Send,
    StrayCancelReceived,
)
from portal.websocket.extensions import HANDLERS, cancel_incoming, give_up
from portal.websocket.incoming import IncomingCalls
from portal.websocket.pending import PendingCalls


class Both:
    """The calls of both directions: one of this side and one of the peer, both with the id 1."""

    def __init__(self, credit: int | None = 1) -> None:
        self.pending, self.incoming = PendingCalls(9), IncomingCalls(9)
        self.mine = self.pending.add("count", tag=None, deadline=None, credit=credit)
        self.theirs = self.incoming.add(Request(1, "count", {}), 0.0, None, credit)

    def handle(self, method: str, params: Any) -> tuple[Any, list[Any]]:
        events: list[Any] = []
        return HANDLERS[method](self.pending, self.incoming, Request(None, method, params, True), events), events


def test_each_direction_has_its_own_ids() -> None:
    both = Both()
    assert both.handle("rpc.cancel", {"id": 1}) == (True, [CancelReceived(both.theirs)])
    assert both.handle("rpc.item", {"id": 1, "data": 5}) == (True, [ItemReceived(both.mine, 5)])
    assert both.handle("rpc.credit", {"id": 1, "items": 2}) == (True, [CreditReceived(both.theirs, None, 2)])
    assert (both.mine.credit, both.theirs.credit) == (0, 3)


@pytest.mark.parametrize("method", ["rpc.cancel", "rpc.credit", "rpc.item"])
def test_a_call_that_has_ended_is_left_alone(method: str) -> None:
    both = Both()
    both.pending.end(both.mine)
    both.incoming.end(both.theirs)
    result, events = both.handle(method, {"id": 1, "items": 1, "data": 1})
    assert result is False
    expected = {"rpc.item": [Ignored("late", 1)], "rpc.cancel": [StrayCancelReceived(1)]}
    assert events == expected.get(method, [])


def test_credit_does_not_grow_without_bound() -> None:
    both = Both()
    for _ in range(3):
        both.handle("rpc.credit", {"id": 1, "items": 1_000_000})
    assert both.theirs.credit == 1_000_000


def test_an_item_beyond_the_credit_ends_the_call() -> None:
    both = Both(credit=0)
    result, (cancel, end) = both.handle("rpc.item", {"id": 1, "data": 5})
    assert (result, type(cancel), type(end.error)) == (False, Send, ProtocolError)


def test_a_call_is_given_up_and_cancelled_once() -> None:
    both = Both()
    cancel, end = give_up(both.pending, both.mine, CallCancelled("enough"))
    assert isinstance(cancel, Send)
    assert isinstance(end, CallEnded)
    assert give_up(both.pending, both.mine, CallCancelled("enough")) == []
    assert cancel_incoming(both.theirs) == [CancelReceived(both.theirs)]
    assert cancel_incoming(both.theirs) == []
