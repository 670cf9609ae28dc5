"""SchedulerLink: calls end at their deadlines while a scheduler does not respond, and go on when it does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

import distributed

from portal import CallCancelled, CallContext, Consumer
from portal.address import Address
from portal.cluster import DaskPortal, DaskResolver
from portal.errors import CallTimeout, PortalError, TransportError
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import WAIT, SchedulerProcess, quiet
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = quiet
SLACK = 4.0  # seconds for a slow machine; a call that ignores its deadline takes 10


@pytest.fixture(scope="module")
def scheduler() -> Iterator[SchedulerProcess]:
    made = SchedulerProcess(free_port())
    try:
        made.wait()
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def square(scheduler: SchedulerProcess) -> Iterator[Address]:
    with DaskPortal(scheduler.address) as portal:
        yield portal.apply(functions.square)


@contextmanager
def frozen(scheduler: SchedulerProcess) -> Iterator[None]:
    scheduler.freeze()
    try:
        yield
    finally:
        scheduler.thaw()


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    begin = monotonic()
    yield
    assert monotonic() - begin < seconds + SLACK


def check_not_sent(error: PortalError) -> None:
    assert isinstance(error, CallTimeout | TransportError)
    assert error.delivery == "not_sent"


def responds(consumer: Consumer, address: Address) -> bool:
    try:
        return bool(consumer.call_at(address, {"n": 3}, timeout=30.0) == 9)
    except PortalError:
        return False


def test_a_first_call_ends_at_its_deadline(
    scheduler: SchedulerProcess, square: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    init = distributed.Client.__init__

    def counted(self: Any, *args: Any, **options: Any) -> None:
        made.append(self)
        init(self, *args, **options)

    monkeypatch.setattr(distributed.Client, "__init__", counted)
    with Consumer() as consumer, ThreadPoolExecutor(8) as threads:
        with frozen(scheduler):
            with ends_within(1.0):
                calls = [threads.submit(consumer.call_at, square, {"n": 3}, timeout=1.0) for _ in range(8)]
                for call in calls:
                    error = call.exception(WAIT)
                    assert isinstance(error, PortalError)
                    check_not_sent(error)
            assert len(made) == 1, "all callers share one attempt to connect"
        eventually(lambda: responds(consumer, square), WAIT)


def test_a_first_call_is_cancelled(scheduler: SchedulerProcess, square: Address) -> None:
    context = CallContext()
    with Consumer() as consumer, frozen(scheduler), ends_within(0.5):
        threading.Timer(0.5, context.cancel).start()
        with pytest.raises(CallCancelled):
            consumer.call_at(square, {"n": 3}, context=context, timeout=WAIT)


def test_each_request_to_the_scheduler_ends_at_the_deadline(scheduler: SchedulerProcess, square: Address) -> None:
    with closing(DaskResolver()) as resolver, Consumer([resolver]) as consumer:
        assert responds(consumer, square)
        inputs = [{"n": 1}, {"n": 2}]
        with frozen(scheduler):
            for request in (
                lambda: list(resolver.map_at(square, inputs, timeout=1.0)),
                lambda: list(consumer.map_at(square, inputs, timeout=1.0)),
                lambda: consumer.call_at(f"dask://{scheduler.address}/unknown", timeout=1.0),
            ):
                with ends_within(1.0), pytest.raises(PortalError) as caught:
                    request()
                check_not_sent(caught.value)
            with ends_within(1.0), pytest.raises(CallTimeout):
                consumer.call_at(square, {"n": 3}, timeout=1.0)
            with CallContext.for_call(1.0).active(), ends_within(1.0), pytest.raises(CallTimeout):
                resolver.list_at(f"dask://{scheduler.address}")
        eventually(lambda: responds(consumer, square), WAIT)


def test_a_client_that_was_given(scheduler: SchedulerProcess, square: Address) -> None:
    with (
        distributed.Client(f"tcp://{scheduler.address}", set_as_default=False) as client,
        closing(DaskResolver(client)) as resolver,
        Consumer([resolver]) as consumer,
    ):
        with frozen(scheduler), ends_within(1.0), pytest.raises(CallTimeout) as late:
            consumer.call_at(square, {"n": 3}, timeout=1.0)
        check_not_sent(late.value)
        eventually(lambda: responds(consumer, square), WAIT)


def test_a_portal_stops(scheduler: SchedulerProcess) -> None:
    """Also while its thread asks the scheduler."""
    portal = DaskPortal(scheduler.address, name="stops")
    portal.apply(functions.add)
    portal.start()
    checks = threading.Event()
    check = portal._publication._check

    def noted() -> None:
        checks.set()
        check()

    portal._publication._check = noted  # type: ignore[method-assign]
    with frozen(scheduler):
        assert checks.wait(WAIT)
        with ends_within(6.0):
            portal.close()


def test_a_port_where_nothing_listens() -> None:
    with Consumer() as consumer, ends_within(0.0), pytest.raises(TransportError, match="ConnectionRefused") as caught:
        consumer.call_at(f"dask://127.0.0.1:{free_port()}/add", timeout=WAIT)
    assert caught.value.delivery == "not_sent"


def test_a_listener_that_is_silent() -> None:
    """Dask itself waits for ever for the first bytes of a scheduler."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Consumer() as consumer, ends_within(1.0):
        with pytest.raises(CallTimeout) as caught:
            consumer.call_at(f"dask://127.0.0.1:{listener.getsockname()[1]}/add", timeout=1.0)
        assert caught.value.delivery == "not_sent"


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name in ("IO loop", "portal-dask-loop")]


def test_a_consumer_that_is_closed_leaves_no_thread(scheduler: SchedulerProcess, square: Address) -> None:
    before = loops()
    for address in (square, Address.parse(f"dask://127.0.0.1:{free_port()}/add")):
        with Consumer() as consumer:
            responds(consumer, address)
            assert len(loops()) == len(before) + 1
        assert loops() == before
