"""Tunnels through a proxy that sends scripted responses."""

from __future__ import annotations

import socket
import threading
from time import monotonic

import pytest

from portal import Address
from portal.errors import ProtocolError
from portal.network.dial import NotSent, ProxyRefused
from portal.network.proxies import Proxies
from portal.network.tunnel import open_tunnel, port_of, read_head, set_timeout

WAIT = 20.0


def tunnel(response: bytes, address: str = "wss://a.example/ws") -> bytes:
    """Open a tunnel through a proxy that sends `response`; return the request."""
    mine, proxy_side = socket.socketpair()
    seen = bytearray()

    def serve() -> None:
        while b"\r\n\r\n" not in seen:
            seen.extend(proxy_side.recv(65536))
        proxy_side.sendall(response)
        proxy_side.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve)
    thread.start()
    target = Address.parse(address)
    proxy = Proxies("http://ann:s3cret@p:3128").find(target)
    assert proxy is not None
    try:
        with mine:
            open_tunnel(mine, target, proxy, monotonic() + WAIT)
    finally:
        thread.join(WAIT)
        proxy_side.close()
    return bytes(seen)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("wss://a.example/ws", "a.example:443"),
        ("ws://a.example/ws", "a.example:80"),
        ("ws://[::1]:8080/ws", "[::1]:8080"),
    ],
)
def test_the_request_names_host_and_port(address: str, target: str) -> None:
    lines = tunnel(b"HTTP/1.1 200 Connection established\r\n\r\n", address).decode().split("\r\n")
    assert lines[:2] == [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    assert lines[2] == "Proxy-Authorization: Basic YW5uOnMzY3JldA=="


@pytest.mark.parametrize("status", ["204 No Content", "200", "299 \xe9"])
def test_every_status_of_success_opens_it(status: str) -> None:
    tunnel(f"HTTP/1.0 {status}\r\nVia: x\r\n\r\n".encode("latin-1"))


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "404 x"])
def test_a_proxy_that_does_not_permit_it(status: str) -> None:
    with pytest.raises(ProxyRefused, match=f"Tunnel connection failed: {status}"):
        tunnel(f"HTTP/1.1 {status}\r\n\r\n".encode())


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 600 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nearly",
    ],
)
def test_a_proxy_that_fails(response: bytes) -> None:
    with pytest.raises(NotSent) as caught:
        tunnel(response)
    assert not isinstance(caught.value, ProxyRefused)


def test_a_response_that_ends_early_or_has_no_end() -> None:
    with pytest.raises(ConnectionResetError):
        tunnel(b"HTTP/1.1 200 OK\r\n")
    mine, other = socket.socketpair()
    with mine, other:
        thread = threading.Thread(target=other.sendall, args=(b"x" * 200_000,))
        thread.start()
        with pytest.raises(ProtocolError, match="at most 65536 bytes"):
            read_head(mine, monotonic() + WAIT)
        mine.close()
        thread.join(WAIT)


def test_no_time_left_is_a_timeout() -> None:
    mine, other = socket.socketpair()
    with mine, other, pytest.raises(TimeoutError):
        set_timeout(mine, monotonic() - 1)


def test_the_default_port_follows_from_the_scheme() -> None:
    assert [port_of(Address.parse(text)) for text in ("ws://a/", "wss://a/", "http://a:1/")] == [80, 443, 1]
