"""Calls through a proxy that breaks things: none runs twice, none is lost without an error, none is late."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from portal import Consumer, HTTPPortal, PortalError, Retry, TransportError, function
from portal.errors import ProtocolError
from tests.support.fault_proxy import FAULTS, FaultProxy

LONG = os.environ.get("PORTAL_LONG") == "1"
CALLS = 10_000 if LONG else 400
LATE = 0.1 if LONG else 1.0  # seconds past the deadline; a machine that runs other tests beside may be slow
TIMEOUT = 0.5


class Runs:
    """How often each call was executed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[int] = Counter()

    def note(self, number: int) -> None:
        with self.lock:
            self.counts[number] += 1


class Outcome:
    def __init__(self, number: int, value: object, error: PortalError | None, seconds: float) -> None:
        self.number, self.value, self.error, self.seconds = number, value, error, seconds


@pytest.mark.parametrize("idempotent", [False, True], ids=["once", "idempotent"])
@pytest.mark.parametrize("retry", [False, True], ids=["plain", "retry"])
def test_through_a_proxy_that_breaks_things(idempotent: bool, retry: bool) -> None:
    runs = Runs()

    @function(idempotent=idempotent)
    def work(number: int) -> int:
        runs.note(number)
        return number * 2

    layers = [Retry(attempts=4, initial_backoff=0.001)] if retry else []
    with HTTPPortal() as portal, Consumer(middleware=layers) as consumer:
        path = portal.apply(work).path
        proxy = FaultProxy(portal.port, seed=7 + idempotent)
        address = f"http://127.0.0.1:{proxy.port}{path}"

        def call(number: int) -> Outcome:
            begun = monotonic()
            try:
                value, error = consumer.call_at(address, {"number": number}, timeout=TIMEOUT), None
            except PortalError as raised:
                # Thousands of kept tracebacks would make the garbage collector hold up every thread for 0.2 s.
                raised.__traceback__ = raised.__cause__ = raised.__context__ = None
                value, error = None, raised
            return Outcome(number, value, error, monotonic() - begun)

        try:
            with ThreadPoolExecutor(8) as threads:
                outcomes = list(threads.map(call, range(CALLS)))
            assert consumer.call_at(portal.base.child("work"), {"number": -1}) == -2  # the way around it works
        finally:
            proxy.close()
    assert set(proxy.faults) == set(FAULTS)
    for outcome in outcomes:
        ran = runs.counts[outcome.number]
        assert outcome.seconds < TIMEOUT + LATE, (outcome.number, outcome.error)
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
