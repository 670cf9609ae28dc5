"""RejectionLog: rejections are counted, and logged from time to time."""

from __future__ import annotations

import logging
import socket
import threading
from time import monotonic

import pytest

from portal import HTTPPortal, ServingConfig
from portal.serving.messages.rejections import RejectionLog

WAIT = 10.0


def test_many_rejections_are_one_log_line_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    rejections = RejectionLog()
    with caplog.at_level(logging.WARNING, "portal.serving"):
        rejections.flush(100.0)  # nothing
        rejections.note("busy")
        rejections.flush(100.0)
        for _ in range(3):
            rejections.note("busy")
            rejections.note("full")
            rejections.flush(105.0)
        rejections.flush(110.0)
        rejections.flush(130.0)  # nothing new
    assert caplog.messages == ["rejected: 1 (busy)", "rejected: 3 (busy), 3 (full)"]
    assert rejections.total == 7


def test_a_listener_logs_and_counts_its_rejections(caplog: pytest.LogCaptureFixture) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        gate.wait(WAIT)

    post = b"POST /api/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    with (
        caplog.at_level(logging.WARNING, "portal.serving"),
        HTTPPortal(config=ServingConfig(workers=1, queue=0, connections=2)) as portal,
    ):
        portal.apply(slow)
        at = ("127.0.0.1", portal.port)
        with socket.create_connection(at, WAIT) as first:
            first.sendall(post)
            assert begun.wait(WAIT)
            with socket.create_connection(at, WAIT, ("127.0.0.2", 0)) as second:
                second.sendall(post)
                assert second.recv(100).startswith(b"HTTP/1.1 503 ")
            with socket.create_connection(at, WAIT) as third:  # the share of its client is one connection, in use
                assert third.recv(100) == b""
            end = monotonic() + WAIT
            while not caplog.messages and monotonic() < end:
                gate.wait(0.01)
            gate.set()
        assert portal.stats()["listener"]["rejected"] == 2
    assert caplog.messages[0].startswith("rejected: 1 (")
