"""Workers of a Dask cluster die: what callers get, and how often a function runs.

Each test kills one worker, and none waits for the next one to start.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portal import Consumer
from portal.cluster import DaskPortal
from portal.errors import TransportError
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import cluster_of, quiet

pytestmark = quiet
WAIT = 300.0


@pytest.fixture(scope="module")
def portal() -> Iterator[DaskPortal]:
    with cluster_of(4) as cluster, DaskPortal(cluster.scheduler_address) as made:
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
