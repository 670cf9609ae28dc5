"""Calls of several servers over sockets: how they are spread, and what callers see when one is slow, broken or away."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic
from typing import Any

import pytest

from portal import (
    Balancing,
    Breaker,
    ConsistentHash,
    Consumer,
    ConsumerError,
    FunctionError,
    HTTPPortal,
    Outliers,
    Policy,
    PortalError,
    WebSocketPortal,
    function,
)
from portal.consumer import FailurePercentage
from portal.directory import Instance
from portal.resilience import Hedge
from portal.websocket import Reconnect, WebSocketClient
from tests.support.ports import free_port

WAIT = 60.0


@contextmanager
def servers(serve: Callable[[int], int], count: int = 4) -> Iterator[tuple[list[HTTPPortal], list[str]]]:
    """Serve a function at several portals; it gets the number of its server."""
    with ExitStack() as stack:
        portals, addresses = [], []
        for number in range(count):

            @function(name="where", idempotent=True)
            def where(user: str = "", number: int = number) -> int:
                return serve(number)

            portal = stack.enter_context(HTTPPortal())
            addresses.append(str(portal.apply(where)))
            portals.append(portal)
        yield portals, addresses


def test_calls_are_spread_evenly() -> None:
    with servers(lambda number: number) as (_, addresses), Consumer() as consumer:
        assert Counter(consumer.call(addresses) for _ in range(40)) == dict.fromkeys(range(4), 10)


def test_calls_of_one_key_go_to_one_server() -> None:
    policy = Policy(balance=ConsistentHash(lambda call: call.params["user"]))
    with servers(lambda number: number) as (_, addresses), Consumer(policy=policy) as consumer:
        for user in ("ann", "bob", "eve"):
            assert len({consumer.call(addresses, {"user": user}) for _ in range(5)}) == 1


@pytest.mark.parametrize(("name", "at_most"), [("least_outstanding", 4), ("peak_ewma", 8)])
def test_a_stalling_server_gets_few_calls(name: str, at_most: int) -> None:
    """The fourth server responds when the others have served 200 calls."""
    release = threading.Event()
    begun: Counter[int] = Counter()

    def serve(number: int) -> int:
        begun[number] += 1
        if number == 3:
            release.wait(WAIT)
        elif sum(begun.values()) >= 200:
            release.set()
        return number

    with servers(serve) as (_, addresses), Consumer(policy=Policy(balance=name, timeout=WAIT)) as consumer:

        def call() -> None:
            while not release.is_set():
                consumer.call(addresses)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert release.is_set()
        assert begun[3] <= at_most


def test_a_server_that_fails_half_of_its_calls_is_ejected() -> None:
    turns = iter(range(10**6))

    def serve(number: int) -> int:
        if number == 3 and next(turns) % 2:
            raise RuntimeError("broken")
        return number

    rule = FailurePercentage(threshold=30, minimum_hosts=1, request_volume=1)
    outliers = Outliers(interval=0.2, base_ejection_time=300.0, failure_percentage=rule)
    with servers(serve) as (_, addresses), Consumer(policy=Policy(balance=Balancing(outliers=outliers))) as consumer:
        end = monotonic() + WAIT
        while not any("ejected" in (one.state.reason or "") for one in consumer.explain(addresses).instances):
            assert monotonic() < end
            with suppress(FunctionError):
                consumer.call(addresses)
        assert Counter(consumer.call(addresses) for _ in range(30)) == dict.fromkeys(range(3), 10)


def test_ejections_are_ignored_when_too_few_servers_would_be_left(caplog: pytest.LogCaptureFixture) -> None:
    def serve(number: int) -> int:
        if number:
            raise RuntimeError("broken")
        return number

    rule = FailurePercentage(threshold=30, minimum_hosts=1, request_volume=1)
    outliers = Outliers(interval=0.2, base_ejection_time=300.0, max_ejection_percent=100, failure_percentage=rule)
    with servers(serve) as (_, addresses), Consumer(policy=Policy(balance=Balancing(outliers=outliers))) as consumer:
        end = monotonic() + WAIT
        while not consumer.explain(addresses).panic:
            assert monotonic() < end
            with suppress(FunctionError):
                consumer.call(addresses)
        assert "panic: too few instances are healthy" in str(consumer.explain(addresses))
        outcomes: Counter[Any] = Counter()
        for _ in range(12):
            try:
                outcomes[consumer.call(addresses)] += 1
            except FunctionError as error:
                outcomes[error.address, "panic" in error.context["explain"]] += 1
        assert outcomes == {0: 3} | {(address, True): 3 for address in addresses[1:]}
    assert any(message.startswith("panic: where has 1 healthy instances of 4") for message in caplog.messages)


class Listed:
    """A directory of one name, which the test changes."""

    problem: str | None = None

    def __init__(self, *addresses: str) -> None:
        self.now = tuple(map(Instance.of, addresses))
        self.watches: list[Callable[[tuple[Instance, ...]], object]] = []

    def instances(self, name: str) -> tuple[Instance, ...]:
        return self.now

    def watch(self, name: str, on_change: Callable[[tuple[Instance, ...]], object]) -> Listed:
        self.watches.append(on_change)
        on_change(self.now)
        return self

    def change(self, *addresses: str) -> None:
        self.now = tuple(map(Instance.of, addresses))
        for on_change in self.watches:
            on_change(self.now)

    def close(self) -> None:
        """Do nothing."""


def test_a_server_that_joins_gets_few_calls_at_first() -> None:
    balancing = Balancing(picker="weighted", slow_start=36_000.0)
    with servers(lambda number: number, 3) as (_, addresses):
        directory = Listed(*addresses[:2])
        with Consumer(policy=Policy(balance=balancing), directory=directory) as consumer:
            assert Counter(consumer.call("where") for _ in range(10)) == {0: 5, 1: 5}
            directory.change(*addresses)
            shares = Counter(consumer.call("where") for _ in range(105))
            assert 4 <= shares[2] <= 6  # a tenth of the weight of the others
            rows = {one.state.address: one.state.effective_weight for one in consumer.explain("where").instances}
            assert rows[addresses[0]] == 1
            assert rows[addresses[2]] == pytest.approx(0.1, abs=0.02)


def test_a_restarted_server_is_used_again() -> None:
    with servers(lambda number: number) as (portals, addresses), Consumer() as consumer:
        assert {consumer.call(addresses) for _ in range(8)} == set(range(4))
        portals[0].stop()
        assert {consumer.call(addresses) for _ in range(9)} == {1, 2, 3}, "no call fails"
        portals[0].start()
        end = threading.Event()
        for _ in range(2000):
            if consumer.call(addresses) == 0:
                break
            end.wait(0.005)
        else:
            pytest.fail("it got no call in 10 seconds")


def test_transports_fail_over() -> None:
    @function(idempotent=True)
    def where() -> str:
        return "served"

    seen: list[str] = []

    def note(call: Any, call_next: Any) -> Any:
        seen.append(call.address.scheme)
        return call_next(call)

    with HTTPPortal() as http, WebSocketPortal() as ws:
        addresses = [http.apply(where), ws.apply(where)]
        policy = Policy(transports=("ws", "http"), timeout=WAIT)
        client = WebSocketClient(reconnect=Reconnect(patience=WAIT))
        with Consumer(policy=policy, websocket=client, attempt_middleware=[note]) as consumer:
            assert consumer.call(addresses) == "served"
            ws.stop()
            started = monotonic()
            assert consumer.call(addresses) == "served"
            assert monotonic() - started < WAIT / 2, "the call does not wait for the connection to come back"
        assert seen[0] == "ws"
        assert seen[-1] == "http"


def test_every_server_is_away() -> None:
    with servers(lambda number: number) as (portals, addresses), Consumer() as consumer:
        assert consumer.call(addresses) == 0
        for portal in portals:
            portal.stop()
        with pytest.raises(ConsumerError) as caught:
            consumer.call(addresses)
        assert len(caught.value.attempts) == 4
        assert {row["outcome"] for row in caught.value.attempts} == {"failed"}
        assert isinstance(caught.value.__cause__, PortalError)


def test_the_attempts_say_the_first_cause_behind_an_open_circuit() -> None:
    addresses = [f"http://127.0.0.1:{free_port()}/api/add" for _ in range(2)]
    with Consumer(policy=Policy(breaker=Breaker(1))) as consumer:
        for outcome in ("failed", "skipped"):
            with pytest.raises(ConsumerError) as caught:
                consumer.call(addresses)
            assert [row["outcome"] for row in caught.value.attempts] == [outcome] * 2
            assert all("refused" in row["message"] for row in caught.value.attempts)


def test_hedging_halves_the_p99_when_one_server_stalls() -> None:
    """Round robin without ejection; a call of the fourth server takes four seconds."""
    stall, over = 4.0, threading.Event()

    def serve(number: int) -> int:
        if number == 3:
            over.wait(stall)
        return number

    def slowest(consumer: Consumer, calls: int) -> float:
        seconds = []
        for _ in range(calls):
            started = monotonic()
            consumer.call(addresses, timeout=WAIT)
            seconds.append(monotonic() - started)
        return max(seconds)

    plain = Policy(balance=Balancing(outliers=None))
    with servers(serve) as (_, addresses):
        try:
            with Consumer(policy=plain) as consumer:
                without = slowest(consumer, 4)
            with Consumer(policy=plain.replace(hedge=Hedge(initial_delay=0.05))) as consumer:
                # The first call fetches the schema: before it the function is not known to be idempotent.
                assert consumer.call(addresses) == 0
                hedged = slowest(consumer, 40)
        finally:
            over.set()
    assert without >= stall
    assert hedged <= without / 2
