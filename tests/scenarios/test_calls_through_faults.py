"""Calls through a proxy that breaks things: none runs twice, none is lost without an error, none is late."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from portal import Consumer, HTTPPortal, PortalError, Retry, TransportError, function
from portal.errors import ProtocolError
from portal.resilience import RetryBudget
from portal.testing import Cut, FaultProxy, HalfOpen, Latency, NetworkFault, Reset, Rewrite
from tests.support.pauses import PauseWatch

LONG = os.environ.get("PORTAL_LONG") == "1"
CALLS = 10_000 if LONG else 400
LATE = 0.1  # seconds past the deadline
STEPS = 4  # threads that one after the other have a part in the end of a call; a slow machine delays each
TIMEOUT = 0.5


def change_length(by: int) -> Callable[[bytes], bytes]:
    """Return a change of a response that adds to its Content-Length."""

    def change(data: bytes) -> bytes:
        return re.sub(rb"(?i)(content-length: )(\d+)", lambda m: m[1] + b"%d" % (int(m[2]) + by), data)

    return change


FAULTS: tuple[NetworkFault, ...] = (
    Latency(0.05, "response"),
    Cut(0, "request"),
    Cut(range(1, 200), "request"),
    Cut(0),
    Reset(0),
    Cut(range(1, 300)),
    Reset(range(1, 300)),
    HalfOpen(0),
    Rewrite(lambda data: data * 2, "response twice"),
    Rewrite(change_length(7), "length too long"),
    Rewrite(change_length(-1), "length too short"),
    Rewrite(lambda data: b"\x00\xffthis is not a response\r\n\r\n" + data, "garbage"),
)


class Runs:
    """How often each call was executed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[int] = Counter()

    def note(self, number: int) -> None:
        with self.lock:
            self.counts[number] += 1


class Outcome:
    def __init__(self, number: int, value: object, error: PortalError | None, begun: float) -> None:
        self.number, self.value, self.error, self.deadline, self.end = (
            number,
            value,
            error,
            begun + TIMEOUT,
            monotonic(),
        )

    def is_late(self, watch: PauseWatch) -> bool:
        """Return whether it came late though this process was not kept from running."""
        late = self.end - self.deadline
        return late > LATE and late > LATE + STEPS * watch.paused(self.deadline, self.end)


@pytest.mark.parametrize("idempotent", [False, True], ids=["once", "idempotent"])
@pytest.mark.parametrize("retry", [False, True], ids=["plain", "retry"])
def test_calls_through_faults(idempotent: bool, retry: bool) -> None:
    runs = Runs()

    @function(idempotent=idempotent)
    def work(number: int) -> int:
        runs.note(number)
        return number * 2

    budget = RetryBudget(max_tokens=1000, token_ratio=1.0)  # the usual one ends the retries, as half of the calls fail
    layers = [Retry(attempts=4, initial_backoff=0.001, budget=budget)] if retry else []
    with HTTPPortal() as portal, Consumer(middleware=layers) as consumer:
        proxy = FaultProxy(portal.base, FAULTS, seed=7 + idempotent, share=0.5)
        address = proxy.through(portal.apply(work))

        def call(number: int) -> Outcome:
            begun = monotonic()
            try:
                value, error = consumer.call_at(address, {"number": number}, timeout=TIMEOUT), None
            except PortalError as raised:
                # Thousands of kept tracebacks would make the garbage collector hold up every thread for 0.2 s.
                raised.__traceback__ = raised.__cause__ = raised.__context__ = None
                value, error = None, raised
            return Outcome(number, value, error, begun)

        with PauseWatch() as watch, proxy, ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(call, range(CALLS)))
            assert consumer.call_at(portal.base.child("work"), {"number": -1}) == -2  # without the proxy it works
    assert set(proxy.counts) == {fault.name for fault in FAULTS} | {"none"}
    for outcome in outcomes:
        ran = runs.counts[outcome.number]
        assert not outcome.is_late(watch), (outcome.number, outcome.end - outcome.deadline, outcome.error)
        if outcome.error is None:
            assert outcome.value == outcome.number * 2  # never another call's answer
            assert ran >= 1
        elif isinstance(outcome.error, TransportError) and not outcome.error.may_have_executed:
            assert ran == 0, outcome.error
        else:
            assert isinstance(outcome.error, TransportError | ProtocolError | TimeoutError), outcome.error
        if not idempotent:
            assert ran <= 1, (outcome.number, outcome.error)
    failed = sum(outcome.error is not None for outcome in outcomes)
    assert 0 < failed < CALLS
    if retry and idempotent:
        assert failed < CALLS * 0.35  # most of what broke was sent again
