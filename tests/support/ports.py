"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import socket
import threading
from time import monotonic

__all__ = ["free_port", "wait_for_port"]

TIMEOUT = 30.0


def free_port() -> int:
    """Return a port that is free now, for servers that must know it before they start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until a server accepts connections on the port."""
    end, pause = monotonic() + TIMEOUT, threading.Event()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            assert monotonic() < end, f"no server listens on port {port}"
            pause.wait(0.05)
        else:
            return
