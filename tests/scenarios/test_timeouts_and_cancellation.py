"""Calls as nobody should make them, the same at every address: odd timeouts, calls given up, Ctrl-C, floods."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from portal import (
    CallCancelled,
    CallContext,
    CallTimeout,
    ConfigError,
    Consumer,
    HTTPPortal,
    LocalPortal,
    OverloadedError,
    ValidationError,
    function,
)
from portal._internal.executor import WorkerPool
from portal.http.client.client import HTTPClient

WAIT = 20.0


class Published:
    """A counting function and one that holds until told, published over one portal."""

    def __init__(self, portal: LocalPortal | HTTPPortal) -> None:
        self.ran: list[int] = []
        self.entered, self.gate = threading.Event(), threading.Event()
        self.given_up = threading.Event()

        def count(number: int) -> int:
            self.ran.append(number)
            return number

        def hold(context: CallContext) -> str:
            context.on_cancel(self.given_up.set)
            self.entered.set()
            self.gate.wait(WAIT)
            return "late"

        self.count, self.hold = str(portal.apply(count)), str(portal.apply(hold))


@pytest.fixture(params=[LocalPortal, HTTPPortal])
def published(request: pytest.FixtureRequest) -> Iterator[Published]:
    with request.param() as portal:
        found = Published(portal)
        yield found
        found.gate.set()


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    with Consumer() as made:
        yield made


@pytest.mark.parametrize("timeout", [math.inf, 1e300, pytest.param(10**400, id="huge"), 1e9])
def test_a_huge_timeout_is_accepted(published: Published, consumer: Consumer, timeout: Any) -> None:
    assert consumer.call_at(published.count, {"number": 1}, timeout=timeout) == 1
    context = CallContext(deadline=monotonic() + WAIT)
    assert consumer.call_at(published.count, {"number": 2}, timeout=timeout, context=context) == 2


@pytest.mark.parametrize("timeout", [0, -0.0, -1, -math.inf, 1e-12])
def test_a_timeout_of_zero_or_less_runs_nothing(published: Published, consumer: Consumer, timeout: float) -> None:
    consumer.resolve(published.count)
    with pytest.raises(CallTimeout):
        consumer.call_at(published.count, {"number": 1}, timeout=timeout)
    assert not published.ran


def test_a_timeout_that_is_not_a_number_is_rejected(published: Published, consumer: Consumer) -> None:
    for call in (consumer.call_at, consumer.stream_at, consumer.notify_at):
        with pytest.raises(ConfigError):
            call(published.count, {"number": 1}, timeout=math.nan)
    with pytest.raises(ConfigError):
        consumer.submit_at(published.count, {"number": 1}, timeout=math.nan).result(WAIT)
    assert not published.ran


def test_a_timeout_of_a_millisecond_is_met(published: Published, consumer: Consumer) -> None:
    with pytest.raises(CallTimeout):
        consumer.call_at(published.hold, timeout=0.001)
    published.gate.set()
    assert consumer.call_at(published.count, {"number": 1}, timeout=WAIT) == 1


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_a_call_cancelled_before_its_start_does_not_run(
    published: Published, consumer: Consumer, timeout: float | None
) -> None:
    assert consumer.call_at(published.count, {"number": 1}) == 1
    context = CallContext()
    context.cancel()
    with pytest.raises(CallCancelled):
        consumer.call_at(published.count, {"number": 2}, context=context, timeout=timeout)
    with context.active(), pytest.raises(CallCancelled):
        consumer.resolve(published.count)(number=3)
    assert published.ran == [1]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals for threads")
def test_after_ctrl_c_the_next_call_gets_its_own_response(published: Published, consumer: Consumer) -> None:
    assert consumer.call_at(published.count, {"number": 1}) == 1
    main = threading.main_thread()

    def interrupt() -> None:
        published.entered.wait(WAIT)
        assert main.ident is not None
        signal.pthread_kill(main.ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            consumer.call_at(published.hold, timeout=WAIT)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join(WAIT)
    if published.hold.startswith("local"):
        assert published.given_up.wait(WAIT)  # a function of this process is told that nobody waits any more
    assert consumer.call_at(published.count, {"number": 2}, timeout=WAIT) == 2
    published.gate.set()
    for number in range(3, 6):
        assert consumer.call_at(published.count, {"number": number}, timeout=WAIT) == number


def test_deadlines_pass_through_local_http_and_local_again() -> None:
    left: list[float] = []
    gate, given_up = threading.Event(), threading.Event()
    with LocalPortal() as local, HTTPPortal() as http, Consumer() as consumer:

        def innermost(context: CallContext) -> str:
            left.append(context.remaining() or 0.0)
            context.on_cancel(given_up.set)
            gate.wait(WAIT)
            return "late"

        def middle(context: CallContext) -> Any:
            left.append(context.remaining() or 0.0)
            return consumer.call_at("local://innermost", timeout=WAIT)

        def outermost(context: CallContext) -> Any:
            left.append(context.remaining() or 0.0)
            return consumer.call_at(address, timeout=WAIT)

        local.apply(innermost)
        local.apply(outermost)
        address = str(http.apply(middle))
        consumer.resolve(address)
        with pytest.raises(CallTimeout):
            consumer.call_at("local://outermost", timeout=0.5)
        assert given_up.wait(WAIT)  # the innermost hears of it
        assert 0.5 >= left[0] >= left[1] - 0.001 >= left[2] - 0.002  # whole milliseconds travel, rounded up
        gate.set()


# many at once


def test_map_raises_the_error_of_an_item_in_its_place_and_cancels_waiting_ones(
    published: Published, consumer: Consumer
) -> None:
    results = consumer.map_at(published.count, ({"number": one} for one in (1, 2, "three", 4, 5)), max_in_flight=2)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValidationError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    assert 5 not in published.ran


def test_a_map_wider_than_the_pool_waits_for_workers(published: Published) -> None:
    pool = WorkerPool(2, 4)
    with Consumer(executor=pool) as narrow:
        numbers = range(50)
        assert list(narrow.map_at(published.count, ({"number": n} for n in numbers), max_in_flight=40)) == [*numbers]
        held = [narrow.submit_at(published.hold, timeout=WAIT) for _ in range(6)]
        with pytest.raises(OverloadedError):
            next(narrow.map_at(published.count, [{"number": 1}]))
        published.gate.set()
        assert [one.result(WAIT) for one in held] == ["late"] * 6
    pool.shutdown(timeout=WAIT)


def test_calls_past_the_queue_are_rejected_and_accepted_ones_complete(published: Published) -> None:
    pool = WorkerPool(2, 100)
    taken = []
    with Consumer(executor=pool) as consumer:
        for number in range(2000):
            with suppress(OverloadedError):
                taken.append((number, consumer.submit_at(published.count, {"number": number})))
        assert len(taken) >= 100
        assert all(future.result(WAIT) == number for number, future in taken)
    assert sorted(published.ran) == [number for number, _ in taken]
    pool.shutdown(timeout=WAIT)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_two_hundred_consumers_leave_no_thread_or_descriptor(published: Published) -> None:
    def held() -> tuple[int, int]:
        mine = [one for one in threading.enumerate() if one.name.startswith("portal-consumer")]
        return len(mine), sum(one.startswith("socket") for one in _descriptors())

    with Consumer() as first:
        first.call_at(published.count, {"number": 0})
    threads, sockets = held()
    for number in range(200):
        with Consumer() as consumer:
            assert consumer.submit_at(published.count, {"number": number}).result(WAIT) == number
    end = monotonic() + WAIT
    while (held()[0] > threads or held()[1] > sockets + 8) and monotonic() < end:
        threading.Event().wait(0.01)  # the server's side closes when it reads of it
    assert held()[0] <= threads
    assert held()[1] <= sockets + 8


def _descriptors() -> list[str]:
    """Return what each open descriptor of this process leads to, such as "socket:[4711]"."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile, by another thread
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found


@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout", "timeout"])
@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, math.inf, "2", True])
def test_invalid_timeouts_of_a_client_are_rejected(name: str, seconds: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        HTTPClient(**{name: seconds})


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, math.inf, True])
def test_invalid_timeouts_of_a_function_are_rejected(seconds: float) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        function(name="f", timeout=seconds)(lambda: 1)
