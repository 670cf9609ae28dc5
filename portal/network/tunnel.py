"""Open a tunnel through an HTTP proxy, and read heads of responses from a blocking socket.

Source: RFC 9110 section 9.3.6.
"""

from __future__ import annotations

import re
import socket
from time import monotonic

from ..address import Address
from ..errors import ProtocolError
from .dial import NotSent, ProxyRefused
from .proxies import Proxy

__all__ = ["open_tunnel", "port_of", "read_head", "set_timeout"]

_READ_SIZE = 16 * 1024
_MAX_HEAD = 64 * 1024
_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([\x20-\x7e]{0,80})[^\r\n]*)?(?:\r\n|\Z)")
_NOT_FORBIDDEN = (408, 429)  # the proxy may permit the same connection later


def port_of(address: Address) -> int:
    """Return the port of an address, or the default port of its scheme."""
    return address.origin[2] or 80


def set_timeout(sock: socket.socket, limit: float) -> None:
    """Let the next operation of a socket end at a moment. Raises: TimeoutError if it has passed."""
    left = limit - monotonic()
    if left <= 0:
        raise TimeoutError("no time is left to connect")
    sock.settimeout(left)


def read_head(sock: socket.socket, limit: float) -> tuple[bytes, bytes]:
    """Return the head of a response without its blank line, and the bytes that follow it.

    Raises: OSError; ProtocolError for a head that does not end.
    """
    data = b""
    while (end := data.find(_END)) < 0:
        if len(data) > _MAX_HEAD:
            raise ProtocolError(f"the head of the response must have at most {_MAX_HEAD} bytes")
        set_timeout(sock, limit)
        piece = sock.recv(_READ_SIZE)
        if not piece:
            raise ConnectionResetError("the server closed the connection without a response")
        data += piece
    return data[:end], data[end + len(_END) :]


def open_tunnel(sock: socket.socket, address: Address, proxy: Proxy, limit: float) -> None:
    """Ask the proxy at the other end of a socket for a tunnel to the server of an address.

    Raises: ProxyRefused if the proxy does not permit it; NotSent if it fails; OSError.
    """
    host = f"[{address.host}]" if ":" in address.host else address.host
    target = f"{host}:{port_of(address)}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    set_timeout(sock, limit)
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    head, rest = read_head(sock, limit)
    found = _STATUS.match(head)
    if found is None:
        raise NotSent(f"the response of the proxy is not HTTP/1.1: {head[:40]!r}")
    status = int(found[1])
    if not 200 <= status < 300:
        words = f"Tunnel connection failed: {status} {(found[2] or b'').decode()}"
        refused = 400 <= status < 500 and status not in _NOT_FORBIDDEN
        raise ProxyRefused(words) if refused else NotSent(words)
    if rest:
        raise NotSent("the proxy sent data before the tunnel was used")
