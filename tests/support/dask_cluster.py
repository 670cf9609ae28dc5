"""A Dask cluster of processes for tests; the tests that need it are skipped where distributed is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["cluster_of", "quiet"]

#: Dask warns of slow machines, and its processes leave sockets behind when they are killed.
quiet = pytest.mark.filterwarnings("ignore")


@contextmanager
def cluster_of(workers: int) -> Iterator[Any]:
    """Run a cluster with one thread in each worker process."""
    distributed = pytest.importorskip("distributed", reason="the package distributed is not installed")
    import dask

    with dask.config.set({"distributed.worker.daemon": False, "distributed.comm.timeouts.connect": "60s"}):
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        )
        try:
            yield cluster
        finally:
            cluster.close(timeout=60)
