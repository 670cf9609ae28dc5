"""Functions on a worker that call the cluster. The only worker has one thread, which is then busy."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import CallTimeout, Consumer
from portal.cluster import DaskPortal, nested
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import WAIT, quiet

pytestmark = quiet


def test_a_function_calls_itself_on_the_cluster(portal: DaskPortal, consumer: Consumer) -> None:
    address = str(portal.apply(functions.depth))
    assert consumer.call_at(address, {"address": address, "n": 3}) == 3


def test_a_function_maps_over_the_cluster(portal: DaskPortal, consumer: Consumer) -> None:
    square, total = str(portal.apply(functions.square)), portal.apply(functions.sum_at)
    assert consumer.call_at(total, {"address": square, "n": 20}) == sum(n * n for n in range(20))
    many = portal.map_at(total, [{"address": square, "n": 3}] * 8, chunk=1, timeout=WAIT)
    assert list(many) == [5] * 8


def test_a_nested_call_ends_at_the_deadline(portal: DaskPortal, consumer: Consumer) -> None:
    """A function that calls itself for ever ends, and the worker goes on."""
    address = str(portal.apply(functions.depth))
    with pytest.raises(CallTimeout):
        consumer.call_at(address, {"address": address, "n": 1_000_000}, timeout=1.0)
    assert consumer.call_at(portal.apply(functions.square), {"n": 3}) == 9


def test_a_thread_that_runs_no_task_leaves_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []
    monkeypatch.setattr(nested, "_secede", lambda: left.append("left"))
    nested.leave_pool()
    assert left == []
