"""The address of a scheduler: which texts and clients are accepted."""

from __future__ import annotations

from typing import Any

import pytest

from portal import AddressError, ConfigError
from portal.address import Address
from portal.cluster.scheduler_address import SchedulerAddress, require_port
from tests.support.dask_cluster import quiet

pytestmark = quiet
WRONG = (
    "host host: host:0 host:99999 host:x :8786 host:8786/path host:1?x tls://host:8786#x tcp:// tcp://host "
    "http://host:8786 dask://host:8786 inproc://10.0.0.1/12/1"
)


@pytest.mark.parametrize("scheduler", ["", None, 5, "a b:1", *WRONG.split()])
def test_other_schedulers_are_rejected(scheduler: Any) -> None:
    with pytest.raises(ConfigError, match=r'dask\.scheduler must be "host:port"'):
        SchedulerAddress.parse(scheduler)


@pytest.mark.parametrize(
    ("scheduler", "authority"),
    [
        ("Host:8786", "host:8786"),
        ("tcp://host:1", "host:1"),
        ("tls://10.0.0.1:1", "10.0.0.1:1"),
        ("[::1]:8786", "[::1]:8786"),
    ],
)
def test_a_scheduler_has_a_host_and_a_port(scheduler: str, authority: str) -> None:
    assert SchedulerAddress.parse(scheduler).authority == authority


def test_a_client_of_a_cluster_inside_the_process_is_rejected() -> None:
    distributed: Any = pytest.importorskip("distributed", reason="the package distributed is not installed")
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        cluster.get_client() as client,
        pytest.raises(ConfigError, match="a host and a port, got inproc://"),
    ):
        SchedulerAddress.of_client(client)
    with pytest.raises(ConfigError, match=r"a connected distributed\.Client"):
        SchedulerAddress.of_client(client)


def test_an_address_of_a_function_has_a_port() -> None:
    require_port(Address.parse("dask://host:8786/add"))
    with pytest.raises(AddressError, match="such as dask://host:8786"):
        require_port(Address.parse("dask://host/add"))
