"""Workers of a Dask cluster die: what callers get, and how often a function runs.

Each test ends one worker, and none waits for the next one to start.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from portal import CallContext, Consumer
from portal.cluster import DaskPortal
from portal.errors import TransportError
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import cluster_of, quiet
from tests.support.waiting import eventually

pytestmark = quiet
WAIT = 300.0


@pytest.fixture(scope="module")
def portal() -> Iterator[DaskPortal]:
    with cluster_of(6) as cluster, DaskPortal(cluster.scheduler_address) as made:
        yield made


@pytest.fixture(scope="module")
def consumer() -> Iterator[Consumer]:
    with Consumer(timeout=WAIT) as made:
        yield made


def test_a_function_that_kills_its_worker_runs_once(portal: DaskPortal, consumer: Consumer, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    with pytest.raises(TransportError, match="KilledWorker") as caught:
        consumer.call_at(portal.apply(functions.die), {"path": str(path)})
    assert caught.value.may_have_executed
    assert len(path.read_text().splitlines()) == 1


def test_an_idempotent_function_runs_again(portal: DaskPortal, consumer: Consumer, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    assert consumer.call_at(portal.apply(functions.die_first), {"path": str(path)}) == 2


def test_a_worker_killed_within_10000_calls_costs_its_chunk(portal: DaskPortal, tmp_path: Path) -> None:
    address = portal.apply(functions.square_or_die)
    path = str(tmp_path / "died")
    calls = ({"n": number, "path": path} for number in range(10_000))
    results: list[Any] = []
    with pytest.raises(TransportError) as caught:
        results.extend(portal.map_at(address, calls, chunk=100))
    assert caught.value.may_have_executed
    again = portal.map_at(address, ({"n": number, "path": path} for number in range(10_000)))
    assert list(again) == [number * number for number in range(10_000)]


def test_a_function_runs_once_through_a_client_that_was_given(portal: DaskPortal, tmp_path: Path) -> None:
    """The scheduler of that client gets the plug-in, too."""
    from distributed import Client

    path = tmp_path / "runs"
    with Client(portal._connection.authority) as client:
        client.unregister_scheduler_plugin("portal-once-only")
        with DaskPortal(client) as given, Consumer([given], timeout=WAIT) as consumer, pytest.raises(TransportError):
            consumer.call_at(given.apply(functions.die), {"path": str(path)})
    assert len(path.read_text().splitlines()) == 1


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep `note_and_wait` from returning."""
    os.mkfifo(f"{path}.end")
    end = os.open(f"{path}.end", os.O_RDWR)
    try:
        yield
    finally:
        os.close(end)


def runs(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").split() if path.exists() else []


def is_kept(client: Any) -> bool:
    """Return whether a worker has a result of `note_and_wait`."""
    return any(workers for key, workers in client.who_has().items() if "note_and_wait" in key)


def test_a_function_runs_once_if_its_worker_is_retired(portal: DaskPortal, tmp_path: Path) -> None:
    from distributed import Client

    path = tmp_path / "runs"
    with Client(portal._connection.authority) as client:
        with held(path):
            future = portal.submit_at(portal.apply(functions.note_and_wait), {"path": str(path)}, timeout=WAIT)
            eventually(lambda: bool(runs(path)), WAIT)
            [worker] = [address for address, pid in client.run(os.getpid).items() if str(pid) in runs(path)]
            client.retire_workers([worker], close_workers=True)
            eventually(lambda: worker not in client.scheduler_info(n_workers=-1)["workers"], WAIT)
            eventually(lambda: future.done() or len(runs(path)) > 1, WAIT)
        with pytest.raises(TransportError, match="not run again") as caught:
            future.result(WAIT)
    assert caught.value.may_have_executed
    assert len(runs(path)) == 1


def test_a_function_runs_once_if_its_result_is_lost(portal: DaskPortal, tmp_path: Path) -> None:
    """The worker dies after the function has returned, before the caller has the result."""
    from distributed import Client

    path, go_on = tmp_path / "runs", threading.Event()
    with Client(portal._connection.authority) as client:
        with held(path):
            future = portal.submit_at(portal.apply(functions.note_and_wait), {"path": str(path)}, timeout=WAIT)
            eventually(lambda: bool(runs(path)), WAIT)
            portal._connection._link.client(CallContext()).loop.add_callback(go_on.wait)  # the caller reads nothing
        eventually(lambda: is_kept(client), WAIT)
        os.kill(int(runs(path)[0]), signal.SIGKILL)
        eventually(lambda: not is_kept(client), WAIT)
        go_on.set()
        with pytest.raises(TransportError, match="not run again") as caught:
            future.result(WAIT)
    assert caught.value.may_have_executed
    assert len(runs(path)) == 1
