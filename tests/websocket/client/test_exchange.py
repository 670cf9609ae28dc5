"""Exchange, StreamExchange and Control."""

from __future__ import annotations

import threading

import pytest

from portal import Address, CallContext
from portal.errors import TransportError
from portal.websocket.client.exchange import Control, Exchange, StreamExchange, relative_name

ADDRESS = Address.parse("ws://h/ws/users/get_user/3f2a9c51")


@pytest.mark.parametrize(
    ("text", "base", "name"),
    [
        ("ws://h/ws/users/get_user/3f2a9c51", 1, "users/get_user/3f2a9c51"),
        ("ws://h/ws/add@2", 1, "add@2"),
        ("ws://h/ws/add?version=%3E%3D1", 1, "add@>=1"),
        ("ws://h/add", 0, "add"),
        ("ws://h/ws", 1, ""),
        ("ws://h/ws/sch%C3%B6n", 1, "schön"),
    ],
)
def test_names_are_relative_to_the_path_of_the_portal(text: str, base: int, name: str) -> None:
    assert relative_name(Address.parse(text), base) == name


def test_a_request_is_made_when_the_base_is_known() -> None:
    call = Exchange(ADDRESS, {"id": 1}, CallContext(request_id="r"))
    assert call.request(1) == ("users/get_user/3f2a9c51", {"id": 1})
    assert call.meta(0.0) == {"request_id": "r"}
    describe = Exchange(ADDRESS, None, CallContext(), method="rpc.describe", named="path")
    assert describe.request(2) == ("rpc.describe", {"path": "get_user/3f2a9c51"})
    control = Control("rpc.subscribe", {"credit": 1}, print, address=ADDRESS, named="topic")
    assert control.request(3) == ("rpc.subscribe", {"topic": "3f2a9c51", "credit": 1})
    assert (control.resumable, control.meta(0.0)) == (False, None)


def test_only_the_first_end_counts() -> None:
    call = Exchange(ADDRESS, None, CallContext())
    assert not call.wait(0)
    call.finish(5, None)
    call.finish(None, TransportError("late"))
    assert call.wait(None)
    assert (call.result, call.error) == (5, None)


def test_what_may_be_sent_again() -> None:
    plain = Exchange(ADDRESS, None, CallContext())
    idempotent = Exchange(ADDRESS, None, CallContext(), idempotent=True)
    with_key = Exchange(ADDRESS, None, CallContext(idempotency_key="k"))
    assert [one.may_be_sent_again() for one in (plain, idempotent, with_key)] == [False, True, True]
    idempotent.sends = 2
    assert not idempotent.may_be_sent_again()
    assert not StreamExchange(ADDRESS, None, CallContext(idempotency_key="k")).may_be_sent_again()


def test_a_stream_gives_credit_for_half_of_it_at_a_time() -> None:
    stream = StreamExchange(ADDRESS, None, CallContext())
    for item in range(64):
        stream.add(item)
    taken = [stream.take() for _ in range(64)]
    assert [item for _, item, _ in taken] == list(range(64))
    assert [index for index, (_, _, grant) in enumerate(taken) if grant] == [31, 63]
    assert stream.take() == (False, None, 0)
    assert not stream.wait(0)


def test_a_reader_of_a_stream_is_woken_by_an_item_and_by_the_end() -> None:
    stream = StreamExchange(ADDRESS, None, CallContext())
    woken = []
    thread = threading.Thread(target=lambda: woken.append((stream.wait(20.0), stream.take()[1])))
    thread.start()
    stream.add("x")
    thread.join(20.0)
    assert woken == [(True, "x")]
    stream.finish(None, None)
    assert stream.wait(0)
    assert stream.finished
