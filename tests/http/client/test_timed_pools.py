from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
import urllib3
from urllib3.exceptions import ReadTimeoutError

from portal.http.client.timed_pools import REQUEST_LIMITS, manager_of

WAIT = 10.0


@contextmanager
def limits(deadline: float | None, read_timeout: float | None) -> Iterator[None]:
    token = REQUEST_LIMITS.set((deadline, read_timeout))
    try:
        yield
    finally:
        REQUEST_LIMITS.reset(token)


@contextmanager
def server(respond: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Serve one connection; yield the URL. The event is set when the client has finished."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            sock, _ = listening.accept()
            with sock:
                while b"\r\n\r\n" not in sock.recv(65_536):
                    continue
                respond(sock, done)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            done.set()
            thread.join(WAIT)


def drip(sock: socket.socket, done: threading.Event) -> None:
    """Send a byte within each read timeout, and never the whole body."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not done.wait(0.02):
        try:
            sock.sendall(b"x")
        except OSError:
            return


def complete(sock: socket.socket, done: threading.Event) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


def fall_silent(sock: socket.socket, done: threading.Event) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    done.wait(WAIT)


@pytest.mark.parametrize(
    ("respond", "left", "read_timeout"), [(drip, 0.2, None), (drip, 0.2, 5.0), (fall_silent, 60.0, 0.05)]
)
def test_a_response_ends_at_the_deadline_or_the_read_timeout(
    respond: Callable[[socket.socket, threading.Event], None], left: float, read_timeout: float | None
) -> None:
    with server(respond) as url, manager_of(None) as pools:
        started = monotonic()
        with limits(started + left, read_timeout), pytest.raises(ReadTimeoutError):
            pools.request("GET", url, retries=False)
        assert monotonic() - started < WAIT / 2


@pytest.mark.parametrize(("left", "read_timeout"), [(None, None), (WAIT, None), (None, WAIT)])
def test_a_response_within_its_limits_is_read(left: float | None, read_timeout: float | None) -> None:
    with server(complete) as url, manager_of(None) as pools:
        with limits(None if left is None else monotonic() + left, read_timeout):
            response = pools.request("GET", url, retries=False)
        assert (response.status, response.data) == (200, b"hello")


def test_limits_belong_to_one_thread() -> None:
    found: list[tuple[float | None, float | None]] = []
    with limits(1.0, 2.0):
        thread = threading.Thread(target=lambda: found.append(REQUEST_LIMITS.get()))
        thread.start()
        thread.join(WAIT)
        assert REQUEST_LIMITS.get() == (1.0, 2.0)
    assert found == [(None, None)]


def test_a_proxy_gets_the_same_pools() -> None:
    with manager_of("http://127.0.0.1:1") as behind, manager_of(None) as direct:
        assert isinstance(behind, urllib3.ProxyManager)
        assert not isinstance(direct, urllib3.ProxyManager)
        assert behind.pool_classes_by_scheme == direct.pool_classes_by_scheme
