from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal import AdaptiveLimit, BearerAuth, ConfigError, Consumer, HTTPPortal, Identity, OverloadedError, function
from portal.address import Address
from portal.calls.middleware import Call
from portal.context import CallContext
from portal.errors import CallTimeout, FunctionError, PortalError, TransportError, ValidationError
from portal.resilience import identity_of
from portal.resilience.adaptive_limit import is_admitted
from tests.support.clocks import Clock
from tests.support.simulated_server import Load, simulate

WAIT = 10.0


@function
def add(a: int, b: int) -> int:
    return a + b


@function
def count(n: int) -> Iterator[int]:
    yield from range(n)


def call_of(name: str = "", address: str | None = None, target: Any = add) -> Call:
    context = CallContext(identity=Identity(name) if name else None)
    streaming = bool(target.schema.streaming)
    return Call(target, {}, context, None if address is None else Address.of(address), streaming=streaming)


class Held:
    """Calls that run until they are ended, without a thread for each."""

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit

    def hold(self, name: str = "", depth: int = 1, inside: Callable[[], Any] = lambda: None) -> Any:
        """Run `inside` while `depth` calls run."""
        if depth == 0:
            return inside()
        return self.limit(call_of(name), lambda call: self.hold(name, depth - 1, inside))


# (limit, running, partitions, running in the own partition) -> admitted
@pytest.mark.parametrize(
    ("state", "admitted"),
    [
        ((10, 9, 1, 9), True),
        ((10, 10, 1, 10), False),
        ((10, 10, 2, 0), True),
        ((10, 14, 2, 4), True),
        ((10, 15, 2, 5), False),  # it has its half
        ((10, 12, 3, 2), True),
        ((10, 13, 3, 3), False),
        ((10, 19, 11, 0), False),  # more partitions than places
        ((10, 20, 2, 0), False),  # never twice the limit
    ],
)
def test_shares_of_partitions(state: tuple[int, int, int, int], admitted: bool) -> None:
    assert is_admitted(*state) is admitted


def test_calls_beyond_the_limit_are_rejected_at_once() -> None:
    limit = AdaptiveLimit(3)
    with pytest.raises(OverloadedError, match=r"3 calls are running, which is the adaptive limit") as caught:
        Held(limit).hold(depth=4)
    assert caught.value.delivery == "not_sent"
    assert caught.value.retry_after == 0.01
    assert limit.stats()[""]["running"] == 0
    assert limit.counters() == {"over_adaptive_limit": 1}


def test_a_client_has_a_limit_for_each_service() -> None:
    limit = AdaptiveLimit(1)
    one, other = "http://a:1/api/add", "http://b:1/api/add"

    def nested(call: Call) -> Any:
        with pytest.raises(OverloadedError, match=r"of a:1"):
            limit(call_of(address=one), lambda call: 1)
        return limit(call_of(address=other), lambda call: "other")

    assert limit(call_of(address=one), nested) == "other"
    assert limit.for_consumer().stats() == {}


def test_one_identity_leaves_room_for_others() -> None:
    limit = AdaptiveLimit(4, partition=identity_of)
    held = Held(limit)

    def others() -> str:
        with pytest.raises(OverloadedError):
            limit(call_of("ann"), lambda call: "ann again")
        return str(held.hold("ben", 2, lambda: "ben has half"))

    assert held.hold("ann", 4, others) == "ben has half"
    assert limit.stats()[""] | {"running": 0, "partitions": 0, "rejected": 1} == limit.stats()[""]


# what a call raises; whether it counts as a call that ran, as one that was dropped, or not at all
OUTCOMES: list[tuple[PortalError | None, str]] = [
    (None, "ran"),
    (FunctionError("f"), "ran"),
    (ValidationError("v"), ""),
    (TransportError("t"), ""),
    (CallTimeout("t"), "dropped"),
    (CallTimeout("t", delivery="not_sent"), ""),
    (OverloadedError("o"), ""),  # of a stage inside of the limiter
]


@pytest.mark.parametrize("case", range(len(OUTCOMES) + 1))
def test_what_counts(case: int) -> None:
    error, expected = (*OUTCOMES, (OverloadedError("o"), "dropped"))[case]
    if case == len(OUTCOMES):
        assert error is not None
        error.received = True
    clock = Clock()
    limit = AdaptiveLimit(20, clock=clock, window=1.0)

    def run(call: Call) -> Any:
        clock.now += 0.5
        if error is not None:
            raise error
        return 1

    for _ in range(10):
        if error is None:
            limit(call_of(), run)
        else:
            with pytest.raises(type(error)):
                limit(call_of(), run)
    stats = limit.stats()[""]
    assert stats["short"] == (0.5 if expected == "ran" else 0.0)
    assert (stats["limit"] < 20) is (expected == "dropped")


def test_a_stream_holds_its_place_and_does_not_count() -> None:
    limit = AdaptiveLimit(1)
    stream = limit(call_of(target=count), lambda call: iter([1, 2]))
    with pytest.raises(OverloadedError):
        limit(call_of(), lambda call: 1)
    assert list(stream) == [1, 2]
    assert limit(call_of(), lambda call: 1) == 1


def test_a_child_process_counts_no_running_calls() -> None:
    limit = AdaptiveLimit(1)

    def nested(call: Call) -> Any:
        limit._limits.get("").after_fork()
        return limit(call_of(), lambda call: "in the child")

    assert limit(call_of(), nested) == "in the child"
    assert limit.stats()[""]["running"] == 0


@pytest.mark.parametrize(("workers", "queue"), [(4, 2), (10, 4), (32, 4)])
def test_a_server_under_twice_its_load_keeps_its_throughput(workers: int, queue: int) -> None:
    clock = Clock()
    limit = AdaptiveLimit(queue=queue, clock=clock)._limits.get("")

    def begin() -> Callable[[], object] | None:
        place = limit.place("")
        return (lambda: limit.leave(place, True)) if limit.enter(place) else None

    seconds = 0.4
    capacity = workers / seconds
    loads = [
        Load(capacity * share, length) for share, length in ((0.5, 30.0), (2, 60.0), (2, 240.0), (0.5, 9), (0.5, 9))
    ]
    quiet, _, full, _, later = simulate(loads, workers=workers, seconds=seconds, clock=clock, begin=begin)
    assert quiet.rejected == later.rejected == 0
    assert full.throughput >= 0.9 * capacity
    assert full.p99 < 3 * quiet.p99
    assert full.rejected >= 0.9 * capacity * 240


def test_a_server_protects_itself_over_sockets() -> None:
    """One client takes every place; another identity still gets one, and the rest is rejected with a wait."""
    running = threading.Semaphore(0)
    go = threading.Event()

    @function
    def hold(n: int) -> int:
        running.release()
        assert go.wait(WAIT)
        return n

    limit = AdaptiveLimit(2, partition=identity_of)
    auth = BearerAuth({"a": Identity("ann"), "b": Identity("ben")})
    with (
        HTTPPortal(auth=auth, middleware=[limit]) as http,
        Consumer(auth="a") as ann,
        Consumer(auth="b") as ben,
    ):
        address = http.apply(hold)
        futures = [ann.submit_at(address, {"n": n}) for n in range(2)]
        for _ in futures:
            assert running.acquire(timeout=WAIT)
        with pytest.raises(OverloadedError, match="adaptive limit") as caught:
            ann.call_at(address, {"n": 3}, timeout=WAIT)
        assert caught.value.retry_after is not None
        other = ben.submit_at(address, {"n": 4})
        assert running.acquire(timeout=WAIT)
        go.set()
        assert [one.result(WAIT) for one in (*futures, other)] == [0, 1, 4]
        assert http.stats()["middleware"]["over_adaptive_limit"] == 1


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"initial": 0}, "adaptive_limit.initial"),
        ({"queue": -1}, "adaptive_limit.queue"),
        ({"smoothing": 1.1}, "adaptive_limit.smoothing"),
        ({"tolerance": 0.5}, "adaptive_limit.tolerance"),
        ({"min_gradient": 0}, "adaptive_limit.min_gradient"),
        ({"window": 0}, "adaptive_limit.window"),
        ({"partition": "tenant"}, "adaptive_limit.partition"),
        ({"initial": 5, "minimum": 6}, "adaptive_limit"),
    ],
)
def test_wrong_settings_are_rejected(options: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AdaptiveLimit(**options)
    assert caught.value.path == path
