"""ClusterConnection: a scheduler that is restarted, and settings."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import ConfigError, Consumer
from portal.cluster import DaskPortal
from portal.cluster.connection import ClusterConnection
from portal.errors import PortalError, TransportError
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import cluster_of, quiet
from tests.support.ports import free_port

pytestmark = quiet


def test_a_scheduler_that_was_restarted_is_found_again() -> None:
    with cluster_of(1) as cluster, DaskPortal(cluster.scheduler_address, timeout=120) as portal, Consumer() as consumer:
        address = portal.apply(functions.add)
        assert consumer.call_at(address, {"a": 1, "b": 2}, timeout=120) == 3.0
        cluster.get_client().restart(timeout=120)
        assert consumer.call_at(address, {"a": 1, "b": 2}, timeout=120) == 3.0
        portal.publish_again()
        with Consumer() as other:
            assert other.call_at(address, {"a": 2, "b": 2}, timeout=120) == 4.0


@pytest.mark.parametrize("scheduler", ["", None, 5])
def test_other_schedulers_are_rejected(scheduler: Any) -> None:
    with pytest.raises(ConfigError, match=r"dask\.scheduler must be"):
        ClusterConnection(scheduler)


def test_a_closed_connection_rejects() -> None:
    connection = ClusterConnection(f"127.0.0.1:{free_port()}")
    connection.close()
    with pytest.raises(PortalError, match="closed"):
        connection.workers()


def test_no_scheduler() -> None:
    connection = ClusterConnection(f"127.0.0.1:{free_port()}")
    with pytest.raises(TransportError, match="cannot be reached") as caught:
        connection.client(0.2)
    assert caught.value.delivery == "not_sent"
    connection.close()
