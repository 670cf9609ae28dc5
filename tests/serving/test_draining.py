"""Draining: the time between "not ready" and the end of accepting."""

from __future__ import annotations

import threading
from time import monotonic

import pytest
import requests

from portal import ConfigError, Consumer, HTTPPortal, ServingConfig, WebSocketPortal
from portal.serving import Listener
from portal.serving.draining import Draining

TIMEOUT = 30


def add(a: int, b: int) -> int:
    return a + b


def test_the_delay_counts_once_from_the_beginning() -> None:
    now, pauses = [100.0], []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds / 2  # a sleep may end early

    draining = Draining(4.0, lambda: now[0], pause)
    assert not draining.begun
    draining.begin()
    now[0] += 2.0
    assert draining.begun
    now[0] += 1.5
    draining.begin()
    draining.wait()
    assert pauses[:2] == [0.5, 0.25]
    draining.wait()
    at_once = Draining(4.0, lambda: now[0], pauses.clear)  # type: ignore[arg-type]
    at_once.wait(at_once=True)
    assert at_once.begun


@pytest.mark.parametrize("value", [-1, "soon", True])
def test_a_wrong_delay_is_rejected(value: object) -> None:
    with pytest.raises(ConfigError, match=r"serving\.drain_delay"):
        ServingConfig(drain_delay=value)  # type: ignore[arg-type]


def test_calls_are_served_until_the_delay_is_over() -> None:
    http = HTTPPortal(config=ServingConfig(drain_delay=1.0))
    address = http.apply(add)
    http.start()
    began = monotonic()
    stopping = threading.Thread(target=http.close)
    stopping.start()
    ready = str(http.base).removesuffix("/api") + "/health/ready"
    calls = 0
    with Consumer() as consumer:
        while monotonic() - began < 0.8:
            assert consumer.call_at(address, {"a": 1, "b": 2}, timeout=TIMEOUT) == 3
            calls += 1
    assert calls > 1
    assert not http.listener.ready
    stopping.join(TIMEOUT)
    assert 1.0 <= monotonic() - began < TIMEOUT
    with pytest.raises(requests.ConnectionError):
        requests.get(ready, timeout=TIMEOUT)


def test_a_listener_is_ready_again_after_another_start() -> None:
    listener = Listener(config=ServingConfig(drain_delay=0.01))
    for _ in range(2):
        listener.start()
        assert listener.ready
        listener.stop()
        assert not listener.ready


def test_a_portal_that_leaves_a_shared_listener_does_not_drain_it() -> None:
    http = HTTPPortal(config=ServingConfig(drain_delay=1000.0))
    with http:
        with WebSocketPortal(listener=http.listener):
            assert http.listener.ready
        assert http.listener.ready
        http.stop(0)  # at once
        assert not http.listener.running
