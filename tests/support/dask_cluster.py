"""A Dask cluster of processes for tests; the tests that need it are skipped where distributed is not installed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

__all__ = ["WAIT", "SchedulerProcess", "cluster_of", "quiet"]

WAIT = 120.0  # seconds after which a test has failed; workers start slowly on a busy machine
ROOT = Path(__file__).resolve().parents[2]

#: Dask warns of slow machines, and its processes leave sockets behind when they are killed.
quiet = pytest.mark.filterwarnings("ignore")


@contextmanager
def cluster_of(workers: int, **options: Any) -> Iterator[Any]:
    """Run a cluster with one thread in each worker process; `options` are those of LocalCluster."""
    distributed = pytest.importorskip("distributed", reason="the package distributed is not installed")
    import dask

    with dask.config.set({"distributed.worker.daemon": False, "distributed.comm.timeouts.connect": "60s"}):
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50, **options
        )
        try:
            yield cluster
        finally:
            cluster.close(timeout=60)


class SchedulerProcess:
    """A scheduler with one worker, as processes of their own at a fixed port, so that they can be killed.

    Attributes:
        address: host and port of the scheduler.
    """

    def __init__(self, port: int) -> None:
        pytest.importorskip("distributed", reason="the package distributed is not installed")
        self.address = f"127.0.0.1:{port}"
        self._processes = [
            _start("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"),
            _start("dask_worker", f"tcp://{self.address}", "--no-nanny", "--nthreads", "2", "--no-dashboard"),
        ]

    def wait(self) -> None:
        """Wait until the scheduler accepts connections, which takes long on a slow machine."""
        eventually(self._accepts, 300.0)

    def _accepts(self) -> bool:
        host, _, port = self.address.partition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5.0).close()
        except OSError:
            return False
        return True

    def freeze(self) -> None:
        """Stop the scheduler, like a machine that swaps; its kernel still accepts connections."""
        self._processes[0].send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the scheduler go on."""
        self._processes[0].send_signal(signal.SIGCONT)

    def kill_scheduler(self) -> None:
        """Kill the scheduler alone. The worker ends when it notices."""
        self._processes[0].kill()
        self._processes[0].wait(60.0)

    def kill(self) -> None:
        """Kill both, like a crash."""
        for process in self._processes:
            process.kill()
            process.wait(60.0)


def _start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{program}", *arguments],
        env=os.environ | {"PYTHONPATH": paths, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "120s"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
