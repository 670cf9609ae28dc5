"""LinkCalls: what happens to calls when a connection is lost."""

from __future__ import annotations

from portal import Address, CallContext
from portal.errors import AuthorizationError, TransportError
from portal.websocket.client.calls import LinkCalls
from portal.websocket.client.exchange import Control, Exchange, Sendable, StreamExchange
from portal.websocket.client.settings import LinkSettings

ADDRESS = Address.parse("ws://h:1/ws/add")


def sent(calls: LinkCalls, exchange: Sendable) -> Sendable:
    exchange.call, _ = calls.session.call("add", tag=exchange)
    exchange.sends += 1
    return exchange


def exchange_of(*, idempotent: bool = False) -> Exchange:
    return Exchange(ADDRESS, None, CallContext(), idempotent=idempotent)


def test_without_a_session_every_call_in_flight_is_settled() -> None:
    calls, seen = LinkCalls(ADDRESS, LinkSettings()), []
    waiting, plain, idempotent = exchange_of(), exchange_of(), exchange_of(idempotent=True)
    stream, control = StreamExchange(ADDRESS, None, CallContext()), Control("rpc.resume", {}, lambda *_: seen.append(1))
    calls.wait(waiting)
    for one in (plain, idempotent, stream, control):
        sent(calls, one)
    assert len(calls) == 5
    calls.drop_controls()
    calls.settle("gone")
    assert isinstance(plain.error, TransportError)
    assert plain.error.may_have_executed
    assert stream.finished
    assert not seen
    assert calls.waiting == [idempotent, waiting]  # what was sent first goes first
    for one in calls.waiting:
        calls.discard(one)
    assert calls.idle


def test_within_a_session_only_streams_are_settled() -> None:
    calls = LinkCalls(ADDRESS, LinkSettings())
    plain, stream = exchange_of(), StreamExchange(ADDRESS, None, CallContext())
    sent(calls, plain)
    sent(calls, stream)
    assert [call.tag for call in calls.resumable] == [plain]
    calls.settle("gone", resumable=False)
    assert (plain.finished, stream.finished) == (False, True)
    assert not calls.idle


def test_an_idempotent_call_is_sent_twice_at_most() -> None:
    calls, exchange = LinkCalls(ADDRESS, LinkSettings()), exchange_of(idempotent=True)
    sent(calls, exchange)
    calls.settle("gone")
    assert calls.waiting == [exchange]
    sent(calls, exchange)
    calls.settle("gone")
    assert exchange.finished
    assert exchange.sends == 2


def test_all_calls_fail_with_errors_of_their_own() -> None:
    calls, error = LinkCalls(ADDRESS, LinkSettings()), AuthorizationError("forbidden", delivery="not_sent")
    flying, waiting, again = exchange_of(), exchange_of(), exchange_of()
    sent(calls, flying)
    again.sends = 1
    calls.wait(waiting)
    calls.wait(again)
    calls.fail_waiting(error)
    calls.fail_in_flight(error)
    found = [one.error for one in (flying, waiting, again)]
    assert [one is not None and one.delivery for one in found] == ["unknown", "not_sent", "unknown"]
    assert len({id(one) for one in found}) == 3


def test_a_call_that_was_given_up_does_not_wait() -> None:
    calls, exchange = LinkCalls(ADDRESS, LinkSettings()), exchange_of()
    calls.wait(exchange)
    calls.discard(exchange)
    calls.discard(exchange)
    assert calls.waiting == []
