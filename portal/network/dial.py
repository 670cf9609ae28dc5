"""Connect to a server: to the first address of its host that accepts."""

from __future__ import annotations

import socket
from time import monotonic
from typing import Any

__all__ = ["NotSent", "ProxyRefused", "StaleConnection", "connect_socket", "connect_to_host"]


class NotSent(OSError):
    """No byte of the request has reached the server."""


class ProxyRefused(NotSent):
    """The proxy does not permit the connection, and has forwarded nothing."""


class StaleConnection(ConnectionError):
    """The server closed a kept connection without a byte of a response, perhaps before it read the request."""


def connect_to_host(host: str, port: int, limit: float) -> socket.socket:
    """Connect to the first address of a host that accepts. The addresses share the time that is left.

    Args:
        limit: `time.monotonic()` moment by which to connect.

    Returns: the connected socket, with a timeout.
    Raises: OSError; UnicodeError for a name that cannot be encoded.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for left, (family, _, _, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        now = monotonic()
        try:
            return connect_socket(family, address, now + (limit - now) / left)
        except OSError:
            if left == 1:
                raise
    raise OSError(f"{host} has no address")


def connect_socket(family: int, address: Any, limit: float) -> socket.socket:
    """Connect to one address before `limit`. Raises: OSError."""
    left = limit - monotonic()
    if left <= 0:
        raise TimeoutError("no time is left to connect")
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(left)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
