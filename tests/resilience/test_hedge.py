from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal import Consumer, Hedge, HTTPPortal, Policy, Retry, RetryBudget, function
from portal.address import Address
from portal.calls.middleware import Call
from portal.context import CallContext
from portal.errors import CallCancelled, CallTimeout, OverloadedError, TransportError
from portal.resilience import PolicyState
from portal.resilience.retry_budget import RetryTokens

WAIT = 10.0
NOW = 0.000_001  # a delay that has passed at once
NEVER = 1000.0


@function(idempotent=True)
def read(n: int = 0) -> int:
    return n


@function
def write(n: int = 0) -> int:
    return n


@function(idempotent=True)
def items(n: int) -> Iterator[int]:
    yield from range(n)


def call_of(target: Any = read, context: CallContext | None = None) -> Call:
    streaming = bool(target.schema.streaming)
    return Call(target, {}, context or CallContext(), Address.of("http://a:1/api/read"), streaming=streaming)


class Branches:
    """Each branch of a call does what the test has said for it, in the order in which they begin."""

    def __init__(self, *acts: Callable[[Call], Any]) -> None:
        self.acts = list(acts)
        self.calls: list[Call] = []
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Any:
        with self._lock:
            self.calls.append(call)
            act = self.acts[len(self.calls) - 1]
        return act(call)


def until_cancelled(call: Call) -> Any:
    cancelled = threading.Event()
    call.context.on_cancel(cancelled.set)
    assert cancelled.wait(WAIT)
    raise CallCancelled("cancelled")


def fail(call: Call) -> Any:
    raise TransportError(f"failed {len(call.function.name)}")


def test_the_first_response_is_used_and_the_loser_cancelled() -> None:
    hedge = Hedge(initial_delay=NOW)
    peer = Branches(until_cancelled, lambda call: "second")
    call = call_of()
    assert hedge(call, peer) == "second"
    assert [one.context.cancelled for one in peer.calls] == [True, True]
    assert not call.context.cancelled
    assert hedge.stats() == {"sent": 1, "won": 1, "delays": {}}


def test_a_fast_call_is_not_hedged() -> None:
    hedge = Hedge(initial_delay=NEVER)
    peer = Branches(lambda call: "first")
    assert hedge(call_of(), peer) == "first"
    assert hedge.stats()["sent"] == 0


@pytest.mark.parametrize("target", [write, items])
def test_other_functions_and_streams_are_called_once_in_this_thread(target: Any) -> None:
    peer = Branches(lambda call: threading.get_ident())
    call = call_of(target)
    assert Hedge(initial_delay=NOW)(call, peer) == threading.get_ident()
    assert peer.calls == [call]


def test_the_wait_is_a_percentile_of_recent_calls() -> None:
    hedge = Hedge(0.5, initial_delay=NEVER, min_delay=0.0)
    assert hedge.delay_of(call_of()) == NEVER
    for _ in range(20):
        assert hedge(call_of(), lambda call: 1) == 1
    assert hedge.delay_of(call_of()) == hedge.stats()["delays"]["a:1/read"] < NEVER
    assert Hedge(min_delay=3.0, initial_delay=5.0).delay_of(call_of()) == 5.0
    assert hedge.for_consumer().delay_of(call_of()) == NEVER


def test_a_failure_waits_for_the_other_branch() -> None:
    started = threading.Event()

    def first(call: Call) -> Any:
        assert started.wait(WAIT)
        return fail(call)

    def second(call: Call) -> Any:
        started.set()
        return "second"

    assert Hedge(initial_delay=NOW)(call_of(), Branches(first, second)) == "second"


def test_a_failure_before_the_wait_is_raised_at_once() -> None:
    peer = Branches(fail)
    with pytest.raises(TransportError):
        Hedge(initial_delay=NEVER)(call_of(), peer)


def test_the_first_failure_is_raised_if_all_fail() -> None:
    begun = threading.Event()

    def first(call: Call) -> Any:
        begun.wait(WAIT)
        raise TransportError("first")

    def second(call: Call) -> Any:
        begun.set()
        until = threading.Event()
        call.context.on_cancel(until.set)
        until.wait(0.05)
        raise TransportError("second")

    with pytest.raises(TransportError, match="first"):
        Hedge(initial_delay=NOW)(call_of(), Branches(first, second))


def test_the_number_of_hedges_is_bounded() -> None:
    third = threading.Event()

    def last(call: Call) -> Any:
        third.set()
        return "third"

    peer = Branches(until_cancelled, until_cancelled, last)
    assert Hedge(initial_delay=NOW, max_hedges=2)(call_of(), peer) == "third"
    assert third.is_set()
    assert len(peer.calls) == 3


def test_a_spent_retry_budget_stops_hedges() -> None:
    tokens = RetryTokens(RetryBudget(2))
    tokens.fail()
    hedge = Hedge(initial_delay=NOW).with_tokens(lambda call: tokens)
    go = threading.Event()

    def slow(call: Call) -> Any:
        go.wait(0.2)
        return "first"

    assert hedge(call_of(), Branches(slow)) == "first"
    assert tokens.stats()["rejected"] == 1
    assert hedge.stats()["sent"] == 0


def test_a_policy_hedges_within_the_budget_of_its_retry() -> None:
    policy = Policy(retry=Retry(budget=RetryBudget(2)), hedge=Hedge(initial_delay=NOW))
    hedge, retry = policy.call_stages(PolicyState())
    assert isinstance(hedge, Hedge)
    assert isinstance(retry, Retry)
    retry.tokens_of(call_of()).fail()
    assert not hedge._may_hedge(call_of())


def test_the_deadline_holds_for_all_branches() -> None:
    peer = Branches(until_cancelled, until_cancelled)
    with pytest.raises(CallTimeout):
        Hedge(initial_delay=NOW)(call_of(context=CallContext().child(timeout=0.2)), peer)
    assert all(one.context.cancelled for one in peer.calls)


def test_cancelling_the_call_cancels_all_branches() -> None:
    context = CallContext()

    def second(call: Call) -> Any:
        context.cancel()
        return until_cancelled(call)

    peer = Branches(until_cancelled, second)
    with pytest.raises(CallCancelled):
        Hedge(initial_delay=NOW)(call_of(context=context), peer)
    assert all(one.context.cancelled for one in peer.calls)


def test_without_a_free_thread_the_call_is_made_here() -> None:
    hedge = Hedge(threads=1, initial_delay=NEVER)

    def nested(call: Call) -> Any:
        return hedge(call_of(), lambda inner: threading.get_ident())

    assert hedge(call_of(), nested) != threading.get_ident()
    with pytest.raises(OverloadedError):
        hedge(call_of(), Branches(lambda call: (_ for _ in ()).throw(OverloadedError("o"))))
    hedge.close()


def test_branches_inherit_the_context() -> None:
    context = CallContext(idempotency_key="k", metadata={"m": 1})
    peer = Branches(lambda call: (call.context.idempotency_key, call.context.metadata, call.context.abortable))
    assert Hedge(initial_delay=NEVER)(call_of(context=context), peer) == ("k", {"m": 1}, True)


def test_a_slow_server_is_hedged_over_a_socket_and_its_connection_ended() -> None:
    """The first request hangs in the server. The second one responds, and the thread of the first is free again."""
    arrived, go = threading.Event(), threading.Event()
    numbers: list[int] = []

    @function(idempotent=True)
    def slow_once(n: int) -> int:
        numbers.append(n)
        if len(numbers) == 2:
            arrived.set()
            assert go.wait(WAIT)
        return n

    ended: list[type[BaseException]] = []
    lost = threading.Event()

    def watch(call: Call, call_next: Callable[[Call], Any]) -> Any:
        try:
            return call_next(call)
        except BaseException as error:
            ended.append(type(error))
            lost.set()
            raise

    hedge = Hedge(initial_delay=0.3)
    with HTTPPortal() as http, Consumer(middleware=[hedge, watch]) as consumer:
        address = http.apply(slow_once)
        assert consumer.call_at(address, {"n": 1}) == 1  # fetches the schema, which says that it is idempotent
        assert consumer.call_at(address, {"n": 2}, timeout=WAIT) == 2
        assert lost.wait(WAIT)
        assert not go.is_set()
        go.set()
    assert arrived.is_set()
    assert numbers == [1, 2, 2]
    assert ended == [CallCancelled]
    assert hedge.stats()["won"] == 1
