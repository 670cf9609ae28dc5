"""call_together: which calls leave together, and which have an outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from portal import Address, CallContext
from portal.errors import (
    AuthenticationError,
    CallCancelled,
    CallTimeout,
    FunctionError,
    OverloadedError,
    PortalError,
    RegistryError,
    SerializationError,
    TransportError,
    ValidationError,
)
from portal.websocket.call_group import call_together, context_to_send
from portal.websocket.client.exchange import Exchange

ADDRESS = Address.parse("ws://shop.example/ws/add")
PARAMS = [{"n": number} for number in range(5)]


class Link:
    """Ends each call at the flush, as `respond` says: with a result, an error, or not at all for None."""

    def __init__(self, respond: Callable[[int], Any], *, size: int = 10) -> None:
        self.respond = respond
        self.size = size
        self.steps: list[Any] = []
        self.rejects: dict[int, PortalError] = {}
        self.room = 100
        self._sent: list[Exchange] = []

    def wait_for_room(self, deadline: float | None) -> bool:
        self.room -= 1
        return self.room >= 0

    def start(self, exchange: Exchange, *, flush: bool) -> None:
        assert not flush
        number = number_of(exchange)
        if number in self.rejects:
            raise self.rejects[number]
        exchange.text = b"x" * self.size
        self._sent.append(exchange)
        self.steps.append(number)

    def flush(self) -> None:
        self.steps.append("flush")
        for exchange in self._sent:
            outcome = self.respond(number_of(exchange))
            if isinstance(outcome, PortalError):
                exchange.finish(None, outcome)
            elif outcome is not None:
                exchange.finish(outcome, None)
        self._sent = []

    def wait(self, exchange: Exchange, deadline: float | None) -> bool:
        return exchange.finished

    def give_up(self, exchange: Exchange, error: PortalError) -> None:
        self.steps.append(("gave up", number_of(exchange)))
        exchange.finish(None, error)


def number_of(exchange: Exchange) -> int:
    assert exchange.params is not None
    number = exchange.params["n"]
    assert isinstance(number, int)
    return number


def call(link: Link, context: CallContext | None = None, has_credential: bool = True) -> dict[int, Any]:
    used = context or CallContext()

    def make(params: Mapping[str, Any]) -> Exchange:
        if params["n"] == 99:
            raise ValidationError("not a number")
        return Exchange(ADDRESS, params, used, idempotent=True)

    return call_together(link, PARAMS, make, used, has_credential=has_credential)  # type: ignore[arg-type]


def square(number: int) -> int:
    return number * number


def test_the_calls_leave_together() -> None:
    link = Link(square)
    assert call(link) == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    assert link.steps == [0, 1, 2, 3, 4, "flush"]


def test_large_requests_do_not_wait_for_all_others() -> None:
    link = Link(square, size=40_000)
    assert len(call(link)) == 5
    assert link.steps == [0, 1, "flush", 2, 3, "flush", 4, "flush"]


def test_an_error_of_one_call_is_its_outcome() -> None:
    link = Link(lambda number: FunctionError("too large") if number == 3 else number + 1)
    found = call(link)
    assert isinstance(found[3], FunctionError)
    assert found[3].address == str(ADDRESS)
    assert (found[0], found[4]) == (1, 5)


def test_a_missing_credential_has_its_hint() -> None:
    found = call(Link(lambda number: AuthenticationError("no")), has_credential=False)
    assert found[0].hint == "pass Consumer(auth=...)"


def test_parameters_that_do_not_fit_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.websocket.test_call_group.PARAMS", [{"n": 0}, {"n": 99}, {"n": 2}])
    link = Link(square)
    found = call(link)
    assert isinstance(found[1], ValidationError)
    assert (found[0], found[2]) == (0, 4)
    assert link.steps == [0, 2, "flush"]


def test_parameters_that_json_cannot_carry_are_a_validation_error() -> None:
    link = Link(square)
    link.rejects[2] = SerializationError("not JSON")
    found = call(link)
    assert isinstance(found[2], ValidationError)
    assert sorted(found) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("error", [TransportError, CallTimeout, OverloadedError, RegistryError])
def test_a_call_that_may_succeed_alone_has_no_outcome(error: type[PortalError]) -> None:
    assert call(Link(lambda number: error("now") if number in (1, 4) else number)) == {0: 0, 2: 2, 3: 3}


def test_the_calls_after_one_that_cannot_be_sent_are_made_alone() -> None:
    link = Link(square)
    link.rejects[2] = OverloadedError("too many calls")
    assert call(link) == {0: 0, 1: 1}
    assert link.steps == [0, 1, "flush"]


def test_calls_without_room_are_made_alone() -> None:
    link = Link(square)
    link.room = 2
    assert call(link) == {0: 0, 1: 1}


def test_calls_without_a_response_at_the_deadline_are_given_up() -> None:
    link = Link(lambda number: None if number in (1, 4) else number)
    assert call(link) == {0: 0, 2: 2, 3: 3}
    assert link.steps[-2:] == [("gave up", 1), ("gave up", 4)]


def test_after_the_deadline_nothing_is_sent() -> None:
    link = Link(square)
    assert call(link, CallContext(deadline=0.0)) == {}
    assert link.steps == ["flush"]


def test_a_cancelled_context_ends_the_calls() -> None:
    context = CallContext()

    def cancel(number: int) -> Any:
        if number == 3:
            context.cancel()
        return None

    link = Link(cancel)
    with pytest.raises(CallCancelled):
        call(link, context)
    assert link.steps[-5:] == [("gave up", number) for number in range(5)]


def test_a_signal_ends_the_calls() -> None:
    class Interrupted(Link):
        def wait(self, exchange: Exchange, deadline: float | None) -> bool:
            raise KeyboardInterrupt

    link = Interrupted(lambda number: None)
    with pytest.raises(KeyboardInterrupt):
        call(link)
    assert link.steps[-5:] == [("gave up", number) for number in range(5)]


def test_calls_outside_of_others_begin_no_trace() -> None:
    outer = CallContext()
    nested = outer.child(timeout=5.0)
    sent = context_to_send(nested)
    assert (sent.parent, sent.traceparent) == (None, None)
    assert (sent.deadline, sent.request_id) == (nested.deadline, nested.request_id)
    traced = CallContext(traceparent=f"00-{'1' * 32}-{'2' * 16}-01").child(timeout=5.0)
    for context in (outer, nested.child(), traced):
        assert context_to_send(context) is context
