"""Clients that want all there is: memory, connections, descriptors and workers stay bounded, and others are served."""

from __future__ import annotations

import gc
import logging
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from portal import HTTPPortal, function
from portal.http.server.negotiation import _known_type, json_type
from portal.http11.forwarded import client_address, trusted_networks
from portal.http11.ip_address import _parse as _cached_address
from portal.serving import ServingConfig
from portal.serving.listener import Listener

WAIT = 10.0
BODY = b'{"a":1,"b":2}'
GOOD = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n" + BODY


def add(a: float, b: float) -> float:
    return a + b


@pytest.fixture
def served() -> Iterator[HTTPPortal]:
    with HTTPPortal(config=ServingConfig(workers=4, queue=64)) as portal:
        portal.apply(add)
        yield portal


def connect(portal: HTTPPortal) -> socket.socket:
    return socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT)


def exchange(sock: socket.socket, data: bytes = GOOD) -> bytes:
    """Send a request, read its answer to the end of its body."""
    sock.sendall(data)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(65536)
        assert piece, received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def test_connected_clients_are_served_when_descriptors_run_out(
    served: HTTPPortal, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connect(served) as good, socket.socket() as late:
        late.settimeout(WAIT)
        assert exchange(good).startswith(b"HTTP/1.1 200 ")
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        spare: list[int] = []
        with caplog.at_level(logging.WARNING, "portal.serving"):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
            try:
                while True:  # so that no number below the limit is free
                    try:
                        spare.append(os.dup(0))
                    except OSError:
                        break
                late.connect(("127.0.0.1", served.port))
                for _ in range(200):
                    assert exchange(good).startswith(b"HTTP/1.1 200 ")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for fd in spare:
                    os.close(fd)
            assert exchange(late).startswith(b"HTTP/1.1 200 ")  # it is heard as soon as there is room
        # Each warning is one attempt to accept; they must not come as often as others call.
        warnings = [record for record in caplog.records if "accepted" in record.getMessage()]
        assert 1 <= len(warnings) < 100


def test_latencies_are_kept_for_published_paths_only(served: HTTPPortal) -> None:
    with connect(served) as sock:
        for number in range(20):
            path = b"/api" + b"/" * (4000 + number) + b"add"
            assert exchange(sock, GOOD.replace(b"/api/add", path)).startswith(b"HTTP/1.1 404 ")
        assert exchange(sock).startswith(b"HTTP/1.1 200 ")
    engine = served.listener._engine
    assert engine is not None
    assert set(engine.scheduler._latencies._latencies) == {("POST", "/api/add")}


def test_long_headers_are_not_cached() -> None:
    proxies = trusted_networks(["10.0.0.0/8"])
    before = _cached_address.cache_info().currsize, _known_type.cache_info().currsize
    for number in range(20):
        long = f"{number}" * 5000
        assert client_address("10.0.0.1", long, proxies) == "10.0.0.1"
        assert json_type(f"application/json;a={long}") == "application/json"
    assert _cached_address.cache_info().currsize <= before[0] + 1
    assert _known_type.cache_info().currsize == before[1]


def test_thousands_of_pipelined_requests_leave_room_for_others(served: HTTPPortal) -> None:
    count = 20_000
    with connect(served) as greedy, connect(served) as other:
        greedy.setblocking(False)
        rest, tail, received = memoryview(GOOD * count), b"", 0
        while received < count:
            with suppress(BlockingIOError):
                rest = rest[greedy.send(rest) :] if rest else rest
            try:
                piece = greedy.recv(1 << 20)
                assert piece, received
            except BlockingIOError:
                piece = b""
                assert exchange(other).startswith(b"HTTP/1.1 200 ")
            found = tail + piece
            received += found.count(b"HTTP/1.1 200 ")
            tail = found[-12:]
        assert served.listener.stats()["rejected"] == 0


def test_a_client_that_reads_nothing_of_a_stream_frees_its_worker() -> None:
    closed: list[bool] = []

    @function
    def endless() -> Iterator[str]:
        try:
            while True:
                yield "x" * 60_000
        finally:
            closed.append(True)

    with HTTPPortal(config=ServingConfig(workers=1, queue=8, write_timeout=0.2)) as portal:
        portal.apply(endless)
        portal.apply(add)
        with connect(portal) as rude, connect(portal) as good:
            rude.sendall(b"POST /api/endless HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            assert rude.recv(10)
            assert exchange(good).startswith(b"HTTP/1.1 200 ")  # by the one worker there is
        assert closed == [True]


def test_a_connection_parked_during_garbage_collection_is_watched() -> None:
    engine = Listener()._build([])
    reactor, table = engine.reactor, engine.table
    parked: Any = SimpleNamespace(deadline=inf)
    for fd in range(5_000):  # so many that, in CPython 3.11, it runs while they are looked through
        table.parked[fd] = parked
    added: list[int] = []

    def park(phase: str, _: object) -> None:  # as a worker may that goes on in a finaliser
        if phase == "start" and not added:
            added.append(5_000)
            table.parked[5_000] = parked

    gc.collect()
    gc.callbacks.append(park)
    try:
        reactor._upkeep.begin(monotonic())
        reactor._upkeep.finish()
    finally:
        gc.callbacks.remove(park)
        reactor.abandon()
