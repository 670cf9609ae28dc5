"""Two processes of gunicorn share one limit through a real store."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

import portal
from portal import Consumer, RateLimitError
from tests.support import valkey

MODULE = """
import os
from portal import HTTPPortal, RateLimit

store = os.environ["STORE"]
limit = RateLimit("100/minute", per="global", algorithm="sliding_window", store=store, functions=["pid"])
http = HTTPPortal(name="shop", middleware=[limit])

def pid() -> int:
    return os.getpid()

def who() -> int:
    return os.getpid()

http.apply(pid)
http.apply(who)
"""
CALLS = 500


def test_the_limit_holds_for_all_workers_together(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "limited.py").write_text(MODULE)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with valkey.running() as server:
        environment = {
            **os.environ,
            "STORE": f"redis://127.0.0.1:{server.port}/0",
            "PYTHONPATH": str(pathlib.Path(portal.__file__).parents[1]),
        }
        worker = "portal.serving.gunicorn.Worker"
        command = [sys.executable, "-m", "gunicorn", "-k", worker, "-w", "2", "-b", f"127.0.0.1:{port}", "limited:http"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as gunicorn:
            try:
                passed = call_all(port)
            finally:
                gunicorn.terminate()
    assert len(passed) == 100


def call_all(port: int) -> list[int]:
    end, pause = monotonic() + 30, threading.Event()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        except OSError:
            assert monotonic() < end
            pause.wait(0.05)

    def call(name: str) -> int | None:
        with Consumer() as consumer:  # connections of its own, so that both processes get some
            try:
                found: int = consumer.call_at(f"http://127.0.0.1:{port}/api/{name}", timeout=20)
            except RateLimitError:
                return None
        return found

    with ThreadPoolExecutor(16) as threads:
        processes: set[int | None] = set()
        while len(processes) < 2:  # both are there and serve
            assert monotonic() < end
            processes |= set(threads.map(call, ["who"] * 32))
        return [one for one in threads.map(call, ["pid"] * CALLS) if one is not None]
