"""ClusterConnection: settings, and a scheduler that is not there."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import ConfigError
from portal.cluster.connection import ClusterConnection
from portal.errors import PortalError, TransportError
from tests.support.dask_cluster import quiet
from tests.support.ports import free_port

pytestmark = quiet


@pytest.mark.parametrize("scheduler", ["", None, "host"])
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
        connection.workers()
    assert caught.value.delivery == "not_sent"
    connection.close()
