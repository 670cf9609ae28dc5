"""Which executors run the functions of a portal in other processes, and how."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest

from portal import CallContext
from portal.calls.elsewhere import invoke_by
from tests.support.cluster_functions import add
from tests.support.dask_cluster import quiet


def test_threads_are_not_other_processes() -> None:
    assert invoke_by(None) is None
    with ThreadPoolExecutor(1) as threads:
        assert invoke_by(threads) is None


def test_a_pool_of_processes() -> None:
    with ProcessPoolExecutor(1) as processes:
        invoke = invoke_by(processes)
        assert invoke is not None
        assert invoke(add, {"a": 1, "b": 2}, CallContext()) == 3.0


@quiet
def test_a_dask_client_of_a_cluster_inside_the_process() -> None:
    """It has no address, so that its executor runs the calls like any other."""
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    distributed: Any = import_module("distributed")
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        invoke = invoke_by(client.get_executor())
        assert invoke is not None
        assert invoke(add, {"a": 1, "b": 2}, CallContext()) == 3.0
