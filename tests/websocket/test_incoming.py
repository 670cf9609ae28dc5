"""IncomingCalls and Batch: what the peer still waits for."""

from __future__ import annotations

import json
from typing import Any

from portal.jsonrpc.encoding import encode_response
from portal.jsonrpc.messages import Id, Request
from portal.websocket.events import IncomingCall
from portal.websocket.incoming import Batch, IncomingCalls


def add(
    incoming: IncomingCalls, call_id: Id, *, notification: bool = False, batch: Batch | None = None
) -> IncomingCall:
    return incoming.add(Request(call_id, "add", {}, notification), 0.0, batch, None)


def test_calls_of_one_id_are_one_and_those_without_an_id_are_many() -> None:
    incoming = IncomingCalls(10)
    first, nothing, other, quiet = (
        add(incoming, 1),
        add(incoming, None),
        add(incoming, None),
        add(incoming, None, notification=True),
    )
    assert incoming.get(1) is first
    assert incoming.get(1.0) is first
    assert incoming.get("1") is None
    assert incoming.get(None) is None
    assert len(incoming) == 4
    assert all(incoming.end(call) for call in (first, nothing, other, quiet))
    assert incoming.all() == []


def test_a_call_ends_once() -> None:
    incoming = IncomingCalls(1)
    call = add(incoming, "x")
    assert incoming.full
    assert (incoming.end(call), incoming.end(call), incoming.full) == (True, False, False)


def test_an_id_may_be_used_again_after_its_end() -> None:
    incoming = IncomingCalls(2)
    old = add(incoming, 1)
    incoming.end(old)
    new = add(incoming, 1)
    assert not incoming.end(old)
    assert incoming.get(1) is new


def values(text: bytes | None) -> Any:
    return None if text is None else json.loads(text)


def test_a_batch_is_whole_once_it_is_read_and_each_call_has_its_response() -> None:
    batch = Batch(1000)
    batch.expect()
    batch.expect()
    assert batch.add(1, b"1") is None
    batch.add_now(b"0")
    assert batch.close() is None
    assert values(batch.add(2, b"2")) == [1, 0, 2]


def test_a_batch_whose_calls_have_ended_while_it_is_read_is_whole_at_its_end() -> None:
    batch = Batch(1000)
    batch.expect()
    assert batch.add(1, b"1") is None
    assert values(batch.close()) == [1]


def test_a_batch_of_notifications_has_no_text() -> None:
    batch = Batch(1000)
    batch.expect()
    assert batch.close() is None
    assert batch.add(None, None) is None


def test_results_beyond_the_size_become_errors_and_errors_stay() -> None:
    batch = Batch(100)
    for _ in range(3):
        batch.expect()
    batch.close()
    assert batch.add(1, encode_response(1, "a" * 40), is_result=True) is None
    assert batch.add(2, encode_response(2, "b" * 40), is_result=True) is None
    whole = values(batch.add(3, b'{"error":{},"id":3}'))
    assert [one["id"] for one in whole] == [1, 2, 3]
    assert whole[0]["result"] == "a" * 40
    assert whole[1]["error"]["data"]["status"] == 413
    assert whole[1]["error"]["data"]["delivery"] == "executed"
    assert whole[2]["error"] == {}
