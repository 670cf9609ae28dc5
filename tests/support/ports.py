"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import secrets
import socket
import threading
from time import monotonic

__all__ = ["free_port", "wait_for_port"]

TIMEOUT = 30.0
# Below the ports that systems give to outgoing connections: one of them may take a port whose server is started again.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that is free now, for servers that must know it before they start."""
    for _ in range(1000):
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port between {PORTS[0]} and {PORTS[-1]} is free")


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
