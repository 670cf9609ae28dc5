"""A malformed or hostile request gets one response or a closed connection, and leaves nothing behind."""

from __future__ import annotations

import gc
import json
import os
import re
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal import HTTPPortal, ProtocolError
from portal.http11.head_cache import HeadCache
from portal.http11.request_head import parse_request_head
from portal.serving import Certificate, ServingConfig, TLSConfig
from portal.serving.messages.request_reader import RequestReader
from tests.support import malformed_requests as table
from tests.support.waiting import eventually

WAIT = 10.0
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*")


def add(a: float, b: float) -> float:
    return a + b


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


# reading responses, strictly and by code that the library does not share


class RawResponse:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


def parse_responses(data: bytes, method: str = "POST") -> list[RawResponse]:
    """Return the final responses in `data`, which must hold nothing else; interim ones are passed over."""
    responses: list[RawResponse] = []
    while data:
        head, found, data = data.partition(b"\r\n\r\n")
        assert found, f"a response is cut off: {head[:100]!r}"
        first, *lines = head.split(b"\r\n")
        match = _STATUS.fullmatch(first)
        assert match, f"no status line: {first[:100]!r}"
        status = int(match[1])
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.decode("ascii").partition(": ")
            assert colon, line
            assert name.lower() not in headers, line
            headers[name.lower()] = value
        if status == 100:
            assert not headers
            continue
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            body, data = _dechunk(data)
        elif status != 204 and method != "HEAD":
            length = int(headers["content-length"])
            body, data = data[:length], data[length:]
            assert len(body) == length, "a body is cut off"
        responses.append(RawResponse(status, headers, body))
    return responses


def _dechunk(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, found, data = data.partition(b"\r\n")
        assert found
        count = int(size, 16)
        body += data[:count]
        assert data[count : count + 2] == b"\r\n"
        data = data[count + 2 :]
        if not count:
            return body, data


# running the table


def send(sock: socket.socket, data: Any) -> None:
    """Send bytes, or let a row do what it wants; that the server has closed already is no fault of it."""
    try:
        if callable(data):
            data(sock)
        else:
            sock.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return


def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    try:
        while piece := sock.recv(65536):
            received += piece
    except (ConnectionResetError, ssl.SSLError):  # a client that closes its side without saying so gets a TLS alert
        return received
    return received


def half_close(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_WR)
    except OSError:
        return


def run(row: Any, port: int, trust: ssl.SSLContext | None) -> str | None:
    """Return what is wrong with the response to a row, or None."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = raw
        if row.tls == "shaken":
            assert trust is not None
            sock = trust.wrap_socket(raw, server_hostname="localhost")
        with sock:
            send(sock, row.data)
            if sock.fileno() < 0:
                return None
            if row.halves:
                half_close(sock)
            received = read_to_end(sock)
        return judge(row, received)


def judge(row: Any, received: bytes) -> str | None:
    if row.kind == "dropped":
        if row.tls == "bare":
            return None if b"HTTP/" not in received else f"it was told {received[:100]!r}"
        responses = parse_responses(received)
        return f"it got status {responses[0].status}" if responses else None
    responses = parse_responses(received, row.method)
    statuses = [response.status for response in responses]
    expected = list(row.statuses)
    if len(statuses) != len(expected) or any(
        not (one == wanted or (not wanted and 400 <= one < 500)) for one, wanted in zip(statuses, expected, strict=True)
    ):
        return f"it got {statuses}, not {expected}"
    if row.kind == "rejected" and not responses[-1].closes:
        return "the connection is not said to be closed"
    for response in responses:
        if response.closes and response is not responses[-1]:
            return "a response follows the last one"
        if response.status >= 400 and row.method != "HEAD":
            problem = json.loads(response.body)
            if response.headers["content-type"] != "application/problem+json" or problem["status"] != response.status:
                return f"no problem document: {response.body!r}"
    return None


def run_table(rows: list[Any], port: int, trust: ssl.SSLContext | None = None) -> dict[str, str]:
    """All rows at once; what went wrong, by name."""

    def one(row: Any) -> str | None:
        try:
            return run(row, port, trust)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    # Those that must be waited for come first, or the last of them would be waited for alone.
    ordered = sorted(rows, key=lambda row: 408 not in row.statuses and row.halves)
    with ThreadPoolExecutor(24) as pool:
        wrongs = list(pool.map(one, ordered))
    return {row.name: wrong for row, wrong in zip(ordered, wrongs, strict=True) if wrong}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def call_well(port: int, trust: ssl.SSLContext | None = None) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as raw:
        sock = raw if trust is None else trust.wrap_socket(raw, server_hostname="localhost")
        with sock:
            sock.sendall(table.GOOD.replace(table.HOST, b"Host: localhost\r\nConnection: close\r\n"))
            (response,) = parse_responses(read_to_end(sock))
    assert (response.status, json.loads(response.body)) == (200, 3)


def check_table(portal: HTTPPortal, rows: list[Any], trust: ssl.SSLContext | None = None) -> None:
    """Run the table twice: every row is right, and the second time leaves nothing behind that the first did not."""
    stats = portal.listener.stats
    call_well(portal.port, trust)
    eventually(lambda: stats()["connections"] == 0, failure="the good connection stays open")
    # Workers come as they are wanted, and stay; one is there.
    files, threads = open_files(), threading.active_count() + table.LIMITS["workers"] - 1
    memory: list[int] = []
    for _ in range(2):
        wrongs = run_table(rows, portal.port, trust)
        assert not wrongs, "\n".join(f"{name}: {wrong}" for name, wrong in wrongs.items())
        eventually(lambda: stats()["connections"] == 0, failure=f"connections stay open: {stats()}")
        eventually(lambda: open_files() <= files, failure="file descriptors are left over")
        eventually(
            lambda: threading.active_count() <= threads, failure=f"threads are left over: {threading.enumerate()}"
        )
        assert stats()["parked"] == stats()["active"] == 0
        call_well(portal.port, trust)
        eventually(lambda: stats()["connections"] == 0, failure="the good connection stays open")
        gc.collect()
        memory.append(tracemalloc.get_traced_memory()[0])
    assert memory[1] - memory[0] < 256 * 1024, f"{memory[1] - memory[0]} bytes more"


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


def test_the_rows_have_unique_names() -> None:
    names = [row.name for row in [*table.PLAIN, *table.TLS]]
    assert len(names) == len(set(names))
    assert len(names) >= 200


@pytest.mark.usefixtures("traced")
def test_each_row_gets_its_responses() -> None:
    with HTTPPortal(config=ServingConfig(**table.LIMITS)) as portal:
        portal.apply(add)
        portal.apply(numbers)
        check_table(portal, table.PLAIN)


@pytest.mark.usefixtures("traced")
def test_each_row_gets_its_responses_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    pem = tmp_path / "server.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(pem))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with HTTPPortal(config=ServingConfig(**table.LIMITS, tls=TLSConfig(Certificate(pem)))) as portal:
        portal.apply(add)
        check_table(portal, table.TLS, trust)


# mutations


SEEDS: list[bytes] = [
    table.GOOD,
    table.post(table.HOST + table.CHUNKED, table.CHUNKS),
    table.post(table.HOST, b"", b"GET /api/add HTTP/1.1"),
    table.post(b"Host: localhost\r\nAccept: */*\r\nX-Request-ID: abc\r\nConnection: close\r\n" + table.LENGTH),
]
# What parsers trip over comes more often than other bytes.
_BYTES = st.one_of(st.sampled_from(b"\r\n\0 :;,\t-+0x"), st.integers(0, 255))


@st.composite
def mutations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(1, 12))
        kind = draw(st.sampled_from(["flip", "insert", "delete", "repeat"]))
        if kind == "flip":
            data = data[:at] + bytes([draw(_BYTES)]) + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + bytes(draw(st.lists(_BYTES, min_size=1, max_size=4))) + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + size :]
        else:
            data = data[:at] + data[at : at + size] + data[at:]
    return data


@pytest.fixture(scope="module")
def served() -> Iterator[HTTPPortal]:
    with HTTPPortal(config=ServingConfig(**table.LIMITS)) as portal:
        portal.apply(add)
        yield portal


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations(SEEDS))
def test_a_damaged_request_gets_at_most_one_response(served: HTTPPortal, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT) as sock:
        send(sock, data)
        half_close(sock)
        responses = parse_responses(read_to_end(sock), "HEAD" if data.startswith(b"HEAD") else "POST")
    for response in responses:
        # Server errors that tell of the request: a method, a coding or a version that is not served.
        assert response.status < 500 or response.status in (501, 505), response.body
        assert not response.closes or response is responses[-1]
    # A request can only be split in two where there are two request lines; else what is left over may be refused.
    is_rejected = len(responses) > 1 and responses[-1].closes and responses[-1].status >= 400
    assert len(responses) - is_rejected <= 1, data


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=len(table.BODY), max_size=len(table.BODY)))
def test_any_body_gets_one_response(served: HTTPPortal, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT) as sock:
        sock.sendall(table.post(body=body))
        half_close(sock)
        (response,) = parse_responses(read_to_end(sock))
    assert response.status in (200, 400, 422)


def test_an_empty_line_does_not_start_a_request() -> None:
    reader = RequestReader(8192, 100, HeadCache())
    reader.feed(table.GOOD + b"\r\n")
    assert reader.next_request() is not None
    assert reader.next_request() is None
    assert reader.state == "idle"  # and so no 408 follows
    reader.feed(table.GOOD[:5])
    assert reader.state == "head"
    reader.feed(table.GOOD[5:])
    assert reader.next_request() is not None


def test_a_request_behind_one_past_its_deadline_is_served() -> None:
    release = threading.Event()

    def stuck() -> bool:
        return release.wait(WAIT)

    with HTTPPortal(config=ServingConfig(**table.LIMITS)) as portal:
        portal.apply(add)
        portal.apply(stuck)
        headers = table.HOST + b"Content-Length: 0\r\nX-Portal-Timeout: 50\r\n"
        for following, status in ((table.GOOD, 200), (b"bad\r\n\r\n", 400)):
            with socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT) as sock:
                sock.sendall(table.post(headers, b"", b"POST /api/stuck HTTP/1.1") + following)
                received = b""
                while received.count(b"HTTP/1.1 ") < 2:
                    received += sock.recv(65536)
                half_close(sock)
                responses = parse_responses(received + read_to_end(sock))
            assert [response.status for response in responses] == [504, status]
        release.set()


def test_a_client_that_reads_nothing_and_expects_100_delays_no_other(tmp_path: Path) -> None:
    head = table.post(table.HOST + table.LENGTH + b"Expect: 100-continue\r\n", b"")
    path = str(tmp_path / "s")

    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(WAIT)
        sock.connect(path)
        return sock

    with HTTPPortal(f"unix:{path}", config=ServingConfig(**table.LIMITS, write_timeout=4.0)) as portal:
        portal.apply(add)
        stats, pause = portal.listener.stats, threading.Event()
        with connect() as rude:
            for data in [head, table.BODY] * 2000:
                before, end = stats()["bytes_out"], monotonic() + 0.2
                try:
                    rude.sendall(data)
                except OSError:
                    break
                while stats()["bytes_out"] == before and monotonic() < end:
                    pause.wait(0.0001)
                if stats()["bytes_out"] == before or not stats()["connections"]:
                    break
            else:
                pytest.fail("it takes all responses of a client that reads none")
            began = monotonic()
            with connect() as good:  # not earlier: an idle connection would be closed meanwhile
                good.sendall(table.GOOD)
                assert good.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert monotonic() - began < 2.0


_ID_LINES = b"X-Request-ID: 1\r\nContent-Length: 13\r\n"
_HEADS = [
    table.post(table.HOST + _ID_LINES, b""),
    b"\r\n" + table.post(table.HOST + _ID_LINES, b""),
    table.post(table.HOST + b"Connection: close\r\n" + _ID_LINES + b"traceparent: x\r\n", b""),
    table.post(_ID_LINES, b"", b"POST http://y:80/api/add HTTP/1.0"),
    table.post(table.HOST + _ID_LINES, b"", b"POST http://y:80/api/add HTTP/1.1"),
    table.post(table.HOST + b"X-Request-ID: 1\r\n" + table.CHUNKED, b""),
    table.post(b"X-Request-ID: 1\r\nContent-Length: 1\r\nHost: localhost\r\n", b""),
    table.post(table.HOST + _ID_LINES + b"X-Request-ID: 2\r\n", b""),
    table.post(table.HOST + _ID_LINES + b"Content-Length: 13\r\n", b""),
    table.post(table.HOST + _ID_LINES + table.CHUNKED, b""),
    table.post(table.HOST + table.CHUNKED + _ID_LINES, b""),
    table.post(table.HOST + _ID_LINES + b"Expect: 100-continue\r\n", b""),
    table.post(table.HOST + b"X-Request-ID: 1\r\n", b""),
    table.post(table.HOST + b"X-Request-ID: \x00\r\n", b""),
]


def _fields(parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        head = parse(data)
    except ProtocolError as error:
        return error.status
    return {name: getattr(head, name) for name in type(head).__slots__ if name != "template"}


@given(st.lists(st.sampled_from(_HEADS), max_size=6), mutations(_HEADS))
def test_cached_heads_do_not_change_later_ones(before: list[bytes], data: bytes) -> None:
    cache = HeadCache()
    if data.count(b"\r\n\r\n") != 1 or not data.endswith(b"\r\n\r\n"):
        data = _HEADS[1]
    for one in (*before, data, data, data):
        assert _fields(cache.parse, one) == _fields(parse_request_head, one), one
