"""What a Policy does to `Consumer.call` and `Consumer.stream` of several servers, over sockets."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from portal import (
    AdaptiveLimit,
    Balancing,
    Bulkhead,
    Chaos,
    Consumer,
    ConsumerError,
    Fallback,
    HTTPPortal,
    OverloadedError,
    Policy,
    Retry,
    WebSocketPortal,
    function,
)
from portal.directory import Instance

WAIT = 60.0


class Servers:
    """Servers of one function, which returns the number of its server; every second one speaks WebSocket.

    Attributes:
        addresses: of the function at each server.
        streams: of a streaming function.
        hold: while it is set, calls do not wait.
        begun: released at the begin of each call.
    """

    def __init__(self, stack: ExitStack, count: int) -> None:
        self.portals: list[HTTPPortal | WebSocketPortal] = []
        self.addresses: list[str] = []
        self.streams: list[str] = []
        self.hold, self.begun = threading.Event(), threading.Semaphore(0)
        self.hold.set()
        stack.callback(self.hold.set)
        for number in range(count):

            @function(idempotent=True)
            def where(number: int = number) -> int:
                self.begun.release()
                assert self.hold.wait(WAIT)
                return number

            @function(idempotent=True)
            def numbers(number: int = number) -> Iterator[int]:
                yield number
                yield number

            portal = stack.enter_context(WebSocketPortal() if number % 2 else HTTPPortal())
            self.portals.append(portal)
            self.addresses.append(str(portal.apply(where)))
            self.streams.append(str(portal.apply(numbers)))

    def shares(self, policy: Policy, calls: int, **options: Any) -> Counter[int]:
        """Return how many of the calls each server got."""
        targets = [Instance(address, **_of(options, n)) for n, address in enumerate(self.addresses)]
        with Consumer(policy=policy) as consumer:
            return Counter(consumer.call(targets) for _ in range(calls))


def _of(options: dict[str, Any], number: int) -> dict[str, Any]:
    return {name: values[number] for name, values in options.items()}


@contextmanager
def servers(count: int = 4) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, count)


def test_weights_zones_subsets_and_own_pickers() -> None:
    class Last:
        def pick(self, candidates: Any, call: Any) -> Any:
            return candidates[-1]

    with servers() as found:
        assert found.shares(Policy(balance="weighted"), 16, weight=[1, 2, 1, 4]) == {0: 2, 1: 4, 2: 2, 3: 8}
        assert found.shares(Policy(balance=Balancing(zone="a")), 8, zone=["a", "b", "a", "b"]) == {0: 4, 2: 4}
        assert len(found.shares(Policy(balance=Balancing(subset=2, subset_key="me")), 8)) == 2
        assert found.shares(Policy(balance=Last), 4) == {3: 4}
        assert found.shares(Policy(balance="pick_first"), 4) == {0: 4}
        assert found.shares(Policy(transports=["ws"]), 4) == {1: 2, 3: 2}  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", [Policy.interactive(), Policy.batch(), Policy.resilient()])
def test_presets_fail_over(policy: Policy) -> None:
    with servers(3) as found, Consumer(policy=policy.replace(timeout=WAIT)) as consumer:
        assert consumer.call(found.addresses) in (0, 1, 2)
        found.portals[0].stop()
        found.portals[1].stop()
        assert {consumer.call(found.addresses) for _ in range(4)} == {2}
        assert set(consumer.stream(found.streams)) == {2}


def test_a_fallback_follows_the_last_server() -> None:
    policy = Policy(fallback=Fallback(-1), retry=Retry(attempts=1))
    with servers(2) as found, Consumer(policy=policy) as consumer:
        assert consumer.call(found.addresses) in (0, 1)
        for portal in found.portals:
            portal.stop()
        assert consumer.call(found.addresses) == -1


@pytest.mark.parametrize("policy", [Policy(bulkhead=Bulkhead(1)), Policy(limiter=AdaptiveLimit(1))])
def test_calls_beyond_a_limit_are_rejected_without_an_attempt(policy: Policy) -> None:
    with servers(1) as found, Consumer(policy=policy) as consumer:
        assert consumer.call(found.addresses) == 0
        assert found.begun.acquire(timeout=WAIT)
        found.hold.clear()
        first: list[int] = []
        thread = threading.Thread(target=lambda: first.append(consumer.call(found.addresses, timeout=WAIT)))
        thread.start()
        assert found.begun.acquire(timeout=WAIT)
        with pytest.raises(OverloadedError) as caught:
            consumer.call(found.addresses, timeout=WAIT)
        assert not caught.value.received
        found.hold.set()
        thread.join(WAIT)
        assert first == [0]
        assert consumer.call(found.addresses) == 0, "the place is given back"


def test_chaos_is_around_each_attempt() -> None:
    tried: list[str] = []

    def note(call: Any, call_next: Any) -> Any:
        tried.append(str(call.address))
        return call_next(call)

    policy = Policy(chaos=Chaos(fails=1.0, seed=1))
    with servers(3) as found, Consumer(policy=policy, attempt_middleware=[note]) as consumer:
        with pytest.raises(ConsumerError) as caught:
            consumer.call(found.addresses)
        assert sorted(tried) == sorted(found.addresses)
        assert {row["outcome"] for row in caught.value.attempts} == {"failed"}


def test_middleware_sees_one_call_and_each_attempt() -> None:
    seen: Counter[str] = Counter()

    def around(name: str) -> Any:
        def middleware(call: Any, call_next: Any) -> Any:
            seen[name] += 1
            return call_next(call)

        return middleware

    with (
        servers(2) as found,
        Consumer(middleware=[around("call")], attempt_middleware=[around("attempt")]) as consumer,
    ):
        found.portals[0].stop()
        assert [consumer.call(found.addresses, policy=Policy(balance="pick_first"))] == [1]
        assert list(consumer.stream(found.streams, policy=Policy(balance="pick_first"))) == [1, 1]
    assert seen == {"call": 2, "attempt": 4}
