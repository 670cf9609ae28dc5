"""The scheduler of a Dask cluster is killed during a call, and comes back at the same address."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import Consumer
from portal.cluster import DaskPortal, DaskResolver
from portal.errors import PortalError, TransportError
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import SchedulerProcess, quiet
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = quiet
WAIT = 300.0


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def started(stack: ExitStack, port: int) -> SchedulerProcess:
    made = SchedulerProcess(port)
    stack.callback(made.kill)
    made.wait()
    return made


def test_calls_in_flight_end_and_the_portal_recovers(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    for name in (path, Path(f"{path}.end")):
        os.mkfifo(name)
    port = free_port()
    scheduler = started(stack, port)
    portal = stack.enter_context(DaskPortal(scheduler.address))
    consumer = stack.enter_context(Consumer(timeout=WAIT))
    block, square, die = (portal.apply(one) for one in (functions.block, functions.square, functions.die))
    assert consumer.call_at(square, {"n": 3}) == 9
    running = consumer.submit_at(block, {"path": str(path)}, timeout=WAIT)
    assert path.read_text() == "started"

    scheduler.kill()
    with pytest.raises(TransportError) as lost:
        running.result(WAIT)
    assert lost.value.may_have_executed

    def is_not_sent() -> bool:
        with pytest.raises(PortalError) as caught:
            consumer.call_at(square, {"n": 3}, timeout=2.0)
        return isinstance(caught.value, TransportError) and not caught.value.may_have_executed

    eventually(is_not_sent, WAIT)

    started(stack, port)

    def responds(one: Consumer) -> bool:
        try:
            return bool(one.call_at(square, {"n": 4}, timeout=30.0) == 16)
        except TransportError:
            return False

    eventually(lambda: responds(consumer), WAIT)

    def is_found() -> Any:
        with closing(DaskResolver()) as resolver:
            try:
                return resolver.resolve_function(square)
            except PortalError:
                return None

    eventually(lambda: is_found() is not None, WAIT)
    runs = tmp_path / "runs"
    with pytest.raises(TransportError) as killed:
        consumer.call_at(die, {"path": str(runs)}, timeout=WAIT)
    assert killed.value.may_have_executed
    assert len(runs.read_text().splitlines()) == 1, "the new scheduler has the plug-in, too"


@pytest.mark.parametrize("chunk", [None, 1, 50])
def test_each_call_of_a_map_in_progress_ends(stack: ExitStack, chunk: int | None) -> None:
    port = free_port()
    scheduler = started(stack, port)
    portal = stack.enter_context(DaskPortal(scheduler.address))
    consumer = stack.enter_context(Consumer(timeout=WAIT))
    address = portal.apply(functions.square_slowly)
    inputs = [{"n": number} for number in range(500)]
    has_begun = threading.Semaphore(0)

    def collected(results: Iterator[Any]) -> list[Any]:
        found = []
        for one in results:
            found.append(one)
            has_begun.release()
        return found

    with ThreadPoolExecutor(3) as threads:
        maps = [
            threads.submit(collected, portal.map_at(address, inputs, chunk=chunk, return_exceptions=True)),
            threads.submit(collected, consumer.map_at(address, inputs, return_exceptions=True)),
        ]
        raising = threads.submit(lambda: collected(portal.map_at(address, inputs, chunk=chunk)))
        for _ in range(6):
            assert has_begun.acquire(timeout=WAIT)
        scheduler.kill_scheduler()
        with pytest.raises(TransportError):
            raising.result(60.0)
        for found in maps:
            outcomes = found.result(60.0)
            assert len(outcomes) == len(inputs)
            failed = [one for one in outcomes if isinstance(one, PortalError)]
            assert {type(one) for one in failed} == {TransportError}
            assert {"unknown"} <= {one.delivery for one in failed} <= {"unknown", "not_sent"}
            assert all(one == n * n for n, one in enumerate(outcomes) if one not in failed)
    scheduler.kill()
    started(stack, port)

    def responds() -> bool:
        found = list(portal.map_at(address, inputs[:5], timeout=30.0, return_exceptions=True))
        return found == [n * n for n in range(5)]

    eventually(responds, WAIT)
