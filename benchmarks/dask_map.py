"""10,000 small calls on a Dask cluster of two processes: `DaskPortal.map_at` beside `client.map`.

python benchmarks/dask_map.py
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from portal.cluster import DaskPortal
from tests.support.cluster_functions import square

CALLS = 10_000


def timed(name: str, run: Any) -> None:
    """Print how long a run takes."""
    begin = perf_counter()
    run()
    seconds = perf_counter() - begin
    print(f"{name}: {seconds:.2f} s, {CALLS / seconds:,.0f} calls a second")


def main() -> None:
    """Run both, each after a short run."""
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        cluster.get_client() as client,
        DaskPortal(cluster.scheduler_address) as portal,
    ):
        address = portal.apply(square)
        inputs = [{"n": number} for number in range(CALLS)]
        list(portal.map_at(address, inputs[:100]))
        client.gather(client.map(square.target, range(100), pure=False))
        timed("DaskPortal.map_at", lambda: list(portal.map_at(address, inputs)))
        timed("client.map, pure=False", lambda: client.gather(client.map(square.target, range(CALLS), pure=False)))


if __name__ == "__main__":
    main()
