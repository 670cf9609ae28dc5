"""Streams: as many items as the client takes, and no worker while the stream waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal.errors import CallCancelled, FunctionError, OverloadedError, ValidationError
from portal.websocket.events import CallEnded, Send
from tests.support.waiting import eventually
from tests.support.websocket_server import LocalPeer, Server

log: list[Any] = []
closed = threading.Event()


def count(to: int) -> Iterator[int]:
    log.append("begin")
    try:
        for number in range(to):
            log.append(number)
            yield number
    finally:
        closed.set()


def breaks() -> Iterator[int]:
    yield 1
    raise KeyError("secret")


@pytest.fixture(autouse=True)
def fresh() -> None:
    log.clear()
    closed.clear()


def start(peer: LocalPeer, to: int = 5, **options: Any) -> Any:
    return peer.call("count", [to], **options)


def test_all_items_come_and_then_the_response() -> None:
    peer = Server([count]).connect()
    end = start(peer, 3)
    assert isinstance(end, CallEnded)
    assert (end.result, end.error, peer.items) == (None, None, [0, 1, 2])
    assert [sorted(one)[0] for one in peer.sent] == ["jsonrpc"] * 3 + ["id"]
    assert closed.is_set()


def test_the_client_slows_the_producer() -> None:
    peer = Server([count]).connect()
    call = start(peer, 5, credit=2)
    assert (peer.items, log, peer.later) == ([0, 1], ["begin", 0, 1], type(peer.later)())
    for granted, expected in [(1, [0, 1, 2]), (9, [0, 1, 2, 3, 4])]:
        text = peer.caller.grant(call, granted)
        assert text is not None
        peer.receive(text)
        assert len(peer.later) == 1
        peer.run_later()
        assert peer.items == expected
    assert isinstance(call.tag, CallEnded)
    assert call.tag.error is None


def test_no_item_is_made_without_credit() -> None:
    peer = Server([count]).connect()
    start(peer, 5, credit=0)
    assert log == []


def test_a_full_output_slows_the_producer() -> None:
    peer = Server([count]).connect()
    peer.room = 2
    call = start(peer, 4)
    assert peer.items == [0, 1]
    peer.room = 10
    (running,) = peer.session.running
    running.tag.go_on()
    running.tag.go_on()
    assert len(peer.later) == 1
    peer.run_later()
    assert peer.items == [0, 1, 2, 3]
    assert isinstance(call.tag, CallEnded)


def test_credit_that_comes_while_an_item_is_made_is_not_lost() -> None:
    peer = Server([count]).connect()
    room = peer.has_room
    calls: list[Any] = []

    def has_room(call: Any) -> bool:
        found = room(call)
        if not found and not calls:  # the credit arrives between this look and the wait
            calls.append(call)
            call.credit += 10
            call.tag.go_on()
        return found

    peer.has_room = has_room  # type: ignore[method-assign]
    end = start(peer, 4, credit=2)
    assert isinstance(end, CallEnded)
    assert peer.items == [0, 1, 2, 3]


def test_a_cancelled_stream_is_closed_by_a_worker() -> None:
    peer = Server([count]).connect()
    call = start(peer, 5, credit=1)
    for event in peer.caller.cancel(call):
        if isinstance(event, Send):
            peer.receive(event.text)
    assert not closed.is_set()
    peer.run_later()
    assert closed.is_set()
    assert peer.sent[-1]["error"]["code"] == CallCancelled.rpc_code
    assert peer.session.running == []


def test_a_lost_connection_closes_the_stream() -> None:
    peer = Server([count]).connect()
    start(peer, 5, credit=1)
    peer.lose()
    peer.run_later()
    assert closed.is_set()
    assert peer.session.running == []


def test_a_stream_ends_at_its_deadline() -> None:
    peer = Server([count]).connect()
    waits = threading.Event()
    run = peer.run_in_worker

    def later(*work: Any) -> None:
        run(*work)
        waits.set()

    peer.run_in_worker = later  # type: ignore[method-assign]
    start(peer, 5, credit=1, meta={"timeout": 20})
    assert waits.wait(20)
    peer.run_later()
    assert closed.is_set()
    assert peer.sent[-1]["error"]["data"]["code"] in ("timeout", "cancelled")


def test_a_stream_for_which_no_worker_is_free_fails() -> None:
    peer = Server([count]).connect()
    call = start(peer, 5, credit=1)
    peer.free = False
    text = peer.caller.grant(call, 5)
    assert text is not None
    peer.receive(text)
    assert closed.wait(20)
    eventually(lambda: isinstance(call.tag, CallEnded))
    assert isinstance(call.tag.error, OverloadedError)


def test_an_error_of_the_function_ends_the_stream() -> None:
    peer = Server([breaks]).connect()
    end = peer.call("breaks")
    assert peer.items == [1]
    assert isinstance(end.error, FunctionError)
    assert "secret" not in str(end.error)


def test_wrong_parameters_end_the_stream_before_it_begins() -> None:
    with pytest.raises(ValidationError):
        Server([count]).connect().result("count", ["x"])
    assert log == []
