"""Fixtures of tests on a real Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from portal import Consumer
from tests.support.dask_cluster import WAIT, cluster_of

if TYPE_CHECKING:
    from portal.cluster import DaskPortal


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Run a cluster with as many workers as the module's WORKERS says, by default one."""
    with cluster_of(getattr(request.module, "WORKERS", 1)) as made:
        yield made


@pytest.fixture(scope="module")
def portal(cluster: Any) -> Iterator[DaskPortal]:
    from portal.cluster import DaskPortal

    with DaskPortal(cluster.scheduler_address) as made:
        yield made


@pytest.fixture(scope="module")
def consumer() -> Iterator[Consumer]:
    with Consumer(timeout=WAIT) as made:
        yield made


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return the `path` of `cluster_functions.wait_until_cancelled`, with the FIFOs that it writes to."""
    for name in ("runs.started", "runs.ended"):
        os.mkfifo(tmp_path / name)
    return tmp_path / "runs"
