"""Many connections of one client process: few threads, and every connection works."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal import Consumer
from portal.websocket import WebSocketClient
from tests.support.ports import free_port

WAIT = 300.0
MAX_THREADS = 16


def connect_many(run: Callable[..., Any], tmp_path: Path, connections: int) -> None:
    port = free_port()
    server = run("serve_chaos.py", port=port, executions=str(tmp_path / "executions"), interval=1.0)
    server.read()
    address = f"ws://127.0.0.1:{port}/ws/safe"
    before = threading.active_count()
    consumers = [Consumer(websocket=WebSocketClient(timeout=WAIT), timeout=WAIT) for _ in range(connections)]
    subscriptions: list[Any] = []
    try:
        for number, consumer in enumerate(consumers):
            assert consumer.call_at(address, {"number": number}) == number
            subscriptions.append(consumer.subscribe(f"ws://127.0.0.1:{port}/ws/numbers", slow="drop_oldest"))
        assert threading.active_count() - before <= MAX_THREADS
        for subscription in subscriptions:
            assert subscription.next(WAIT) is not None
        for number, consumer in enumerate(consumers):
            assert consumer.call_at(address, {"number": number}) == number
        assert threading.active_count() - before <= MAX_THREADS
    finally:
        for consumer in consumers:
            consumer.close()


def test_a_hundred_connections(run: Callable[..., Any], tmp_path: Path) -> None:
    connect_many(run, tmp_path, 100)


def test_a_thousand_connections_long(run: Callable[..., Any], tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("the system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    connect_many(run, tmp_path, 1000)
