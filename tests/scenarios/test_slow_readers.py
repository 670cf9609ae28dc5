"""Clients that read slowly, or not at all: they hold no worker that another client needs, and are cut in time."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest
import trustme

from portal import BearerAuth, CallContext, HTTPPortal
from portal.serving import Certificate, ServingConfig, TLSConfig
from tests.support.waiting import eventually

WAIT = 10.0  # seconds; less than the timeouts after which the server gives up a client by default
BLOB = 30_000_000  # more than the kernel takes at once
GATE = threading.Event()


def add(a: float, b: float) -> float:
    return a + b


def blob() -> str:
    return "x" * BLOB


def endless() -> Iterator[str]:
    while True:
        yield "x" * 60_000


def short_stream(size: int) -> Iterator[str]:
    for _ in range(size // 1000):
        yield "y" * 998


def waiting(context: CallContext) -> Iterator[int]:
    yield 1
    while not context.cancelled:
        GATE.wait(0.02)
        yield 2


FUNCTIONS: tuple[Callable[..., object], ...] = (add, blob, endless, short_stream, waiting)


def serve(**limits: object) -> HTTPPortal:
    """Return a portal in which one function, or one client, may hold every worker, unless `limits` says otherwise."""
    every = {"max_running_per_function": 99, "max_running_per_client": 99, "max_streams_per_client": 99}
    portal = HTTPPortal(config=ServingConfig(**(every | limits)))  # type: ignore[arg-type]
    for one in FUNCTIONS:
        portal.apply(one)
    return portal


def request(name: str, body: bytes = b"{}") -> bytes:
    return b"POST /api/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        name.encode(),
        len(body),
        body,
    )


BATCH = b'[{"jsonrpc":"2.0","id":1,"method":"blob"},{"jsonrpc":"2.0","id":2,"method":"add","params":{"a":1,"b":2}}]'


def connect(portal: HTTPPortal, receive_buffer: int = 4096) -> socket.socket:
    """Connect like a client with a small receive buffer, so that the kernels between hold little."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(WAIT)
    sock.connect(("127.0.0.1", portal.port))
    return sock


def call_add(portal: HTTPPortal) -> None:
    """Call `add` on a connection of its own. It fails if a client that does not read holds the only worker."""
    with socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT) as sock:
        sock.sendall(request("add", b'{"a":1,"b":2}'))
        assert read_response(sock).endswith(b"3.0")


def read_response(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    missing = int(found[1] if found else 0) - len(body)
    pieces = [body]
    while missing:
        pieces.append(sock.recv(min(missing, 1 << 20)))
        assert pieces[-1]
        missing -= len(pieces[-1])
    return head + b"\r\n\r\n" + b"".join(pieces)


def read_to_end(sock: socket.socket) -> bytes:
    pieces = [b""]
    while piece := sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def stats(portal: HTTPPortal) -> dict[str, int]:
    found: dict[str, int] = portal.listener.stats()
    return found


@pytest.mark.parametrize(
    "call", [request("blob"), request("rpc", BATCH), request("endless")], ids=["response", "batch", "stream"]
)
def test_clients_that_do_not_read_hold_no_worker_that_others_need(call: bytes) -> None:
    with serve(workers=4, queue=16, max_output=400_000_000) as portal, ExitStack() as rude:
        for _ in range(4):
            sock = rude.enter_context(connect(portal))
            sock.sendall(call)
            assert sock.recv(10)
        for _ in range(5):
            call_add(portal)


def test_a_response_that_is_read_slowly_arrives_whole_and_holds_no_worker() -> None:
    with serve(workers=1, queue=4) as portal, connect(portal, 65536) as slow:
        slow.sendall(request("blob") + request("add", b'{"a":2,"b":2}'))  # the second one waits for its turn
        eventually(lambda: stats(portal)["output_buffered"] > 0)
        call_add(portal)
        assert read_response(slow).endswith(b"x" * 100 + b'"')
        assert read_response(slow).endswith(b"4.0")
        eventually(lambda: stats(portal)["output_buffered"] == 0)
        slow.sendall(request("add", b'{"a":3,"b":3}'))
        assert read_response(slow).endswith(b"6.0")


@pytest.mark.parametrize("name", ["blob", "endless"])
def test_the_write_timeout_takes_as_long_as_it_says(name: str) -> None:
    with serve(workers=2, write_timeout=1.0) as portal, connect(portal) as rude:
        began = monotonic()
        rude.sendall(request(name))
        assert rude.recv(10)
        eventually(lambda: stats(portal)["output_buffered"] > 0)
        eventually(lambda: stats(portal)["connections"] == 0)
        assert monotonic() - began >= 1.0  # and within WAIT, not after the default of 30 seconds
        assert stats(portal)["output_buffered"] == 0
        assert stats(portal)["streams"] == 0


@pytest.mark.parametrize(
    "limits",
    [{"write_timeout": 1.0, "min_write_rate": 10_000_000}, {"response_timeout": 1.0, "min_write_rate": 0}],
    ids=["below the least rate", "longer than a response may take"],
)
def test_a_client_that_reads_a_little_now_and_then_is_cut(limits: dict[str, float]) -> None:
    """Each part comes within the write timeout."""
    with serve(workers=2, **limits) as portal, connect(portal) as drip:
        drip.sendall(request("blob"))
        with pytest.raises(ConnectionError):
            drip_for(drip, WAIT)
        assert stats(portal)["output_aborted"] == 1


def drip_for(sock: socket.socket, seconds: float) -> None:
    """Read a little now and then."""
    end, pause = monotonic() + seconds, threading.Event()
    while monotonic() < end:
        assert sock.recv(4096)
        pause.wait(0.02)


def test_streams_never_take_the_last_worker() -> None:
    with serve(workers=4, queue=16) as portal, ExitStack() as open_streams:
        for _ in range(3):
            sock = open_streams.enter_context(connect(portal))
            sock.sendall(request("waiting"))
            assert sock.recv(10) == b"HTTP/1.1 2"
        with connect(portal) as one_more:
            one_more.sendall(request("waiting"))
            rejected = read_to_end(one_more)
        assert rejected.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in rejected.lower()
        assert b"every place for a stream" in rejected
        call_add(portal)
        assert (stats(portal)["streams"], stats(portal)["streams_rejected"]) == (3, 1)
        open_streams.close()
        eventually(lambda: stats(portal)["streams"] == 0)
        with connect(portal) as again:
            again.sendall(request("waiting"))
            assert again.recv(10) == b"HTTP/1.1 2"


@pytest.mark.parametrize("workers", [4, 8, 16])
def test_streams_of_one_client_leave_places_to_another(workers: int) -> None:
    """Also for the same function: the streams of one client hold neither all places nor all calls of it."""
    with HTTPPortal(config=ServingConfig(workers=workers)) as portal, ExitStack() as open_streams:
        portal.apply(waiting)
        found = []
        for _ in range(workers):
            sock = open_streams.enter_context(connect(portal))
            sock.sendall(request("waiting"))
            found.append(sock.recv(12))
            if found[-1] != b"HTTP/1.1 200":
                break
        assert found[-1] == b"HTTP/1.1 503"
        assert stats(portal)["streams_rejected"] == 1
        other = open_streams.enter_context(
            socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT, source_address=("127.0.0.2", 0))
        )
        other.sendall(request("waiting"))
        assert other.recv(12) == b"HTTP/1.1 200"


def test_streams_count_for_the_identity_whatever_else_its_requests_have() -> None:
    """A client cannot be several by sending other cookies with one credential."""
    auth = BearerAuth({"a": "ann", "b": "bob"})
    with HTTPPortal(auth=auth, config=ServingConfig(workers=8, max_streams_per_client=2)) as portal:
        portal.apply(waiting)
        with ExitStack() as open_streams:
            found = []
            for number, token in enumerate(("a", "a", "a", "b")):
                sock = open_streams.enter_context(connect(portal))
                headers = f"Authorization: Bearer {token}\r\nCookie: c={number}\r\nContent".encode()
                sock.sendall(request("waiting").replace(b"Content", headers, 1))
                found.append(sock.recv(12)[9:])
            assert found == [b"200", b"200", b"503", b"200"]


def test_a_short_stream_frees_its_worker_before_its_client_has_read_it() -> None:
    with serve(workers=1, max_output_per_connection=50_000_000, max_streams=1) as portal, connect(portal) as slow:
        slow.sendall(request("short_stream", b'{"size":15000000}'))
        assert slow.recv(10) == b"HTTP/1.1 2"
        eventually(lambda: stats(portal)["streams"] == 0)
        assert stats(portal)["output_buffered"] > 0
        call_add(portal)
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            rest = rest[-1000:] + slow.recv(1 << 20)


def test_items_that_wait_arrive_while_the_function_waits_for_the_next_one() -> None:
    """The reactor sends what the client did not take, although the stream's worker is in the function."""
    done = threading.Event()

    def burst() -> Iterator[str]:
        for _ in range(9):
            yield "z" * 1_000_000
        done.wait(WAIT)
        yield "last"

    with HTTPPortal(config=ServingConfig(workers=2, max_output_per_connection=50_000_000)) as portal:
        portal.apply(burst)
        with connect(portal) as slow:
            slow.sendall(request("burst"))
            eventually(lambda: stats(portal)["output_buffered"] > 0)
            size = 0
            while size < 9_000_000:
                size += len(slow.recv(1 << 20))
            done.set()
            assert b"last" in read_until(slow, b"last")


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = sock.recv(65536)
        assert piece
        data = data[-100:] + piece
    return data


def test_a_client_that_leaves_while_a_stream_waits_for_it_cancels_the_stream() -> None:
    cancelled = threading.Event()

    def burst(context: CallContext) -> Iterator[str]:
        context.on_cancel(cancelled.set)
        yield "z" * 9_000_000
        cancelled.wait(WAIT)
        yield "last"

    with HTTPPortal(config=ServingConfig(workers=2, max_output_per_connection=50_000_000)) as portal:
        portal.apply(burst)
        with connect(portal) as slow:
            slow.sendall(request("burst"))
            eventually(lambda: stats(portal)["output_buffered"] > 0)
        assert cancelled.wait(WAIT)
        eventually(lambda: stats(portal)["connections"] == 0)
        assert stats(portal)["output_buffered"] == 0


def test_the_heaviest_connection_is_cut_when_all_of_them_keep_too_much() -> None:
    with serve(workers=4, max_output=50_000_000) as portal, ExitStack() as rude:
        for _ in range(4):
            sock = rude.enter_context(connect(portal))
            sock.sendall(request("blob"))
        eventually(lambda: stats(portal)["output_aborted"] == 3)
        eventually(lambda: stats(portal)["output_buffered"] <= 50_000_000)
        call_add(portal)


def test_a_response_above_the_bound_of_all_output_reaches_a_client_that_is_alone() -> None:
    with serve(workers=2, max_output=1_000_000) as portal, connect(portal, 65536) as only:
        only.sendall(request("blob"))
        assert len(read_response(only)) > BLOB


def test_many_small_items_do_not_take_more_memory_than_the_bound_says() -> None:
    def crumbs() -> Iterator[str]:
        while True:
            yield "c" * 200

    with HTTPPortal(config=ServingConfig(workers=2, max_output_per_connection=1_000_000)) as portal:
        portal.apply(crumbs)
        with connect(portal) as rude:
            rude.sendall(request("crumbs"))
            eventually(lambda: stats(portal)["output_buffered"] > 0)
            tracemalloc.start()
            try:
                eventually(lambda: stats(portal)["output_buffered"] > 1_000_000)
                assert tracemalloc.get_traced_memory()[1] < 3_000_000
            finally:
                tracemalloc.stop()


def test_the_last_response_of_a_connection_is_sent_to_its_end() -> None:
    closing = request("blob").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with serve(workers=1) as portal, connect(portal, 65536) as slow:
        slow.sendall(closing)
        eventually(lambda: stats(portal)["output_buffered"] > 0)
        assert len(read_to_end(slow)) > BLOB


def test_a_stop_lets_a_client_read_its_response_within_the_grace() -> None:
    portal = serve(workers=2)
    portal.start()
    with connect(portal, 65536) as slow:
        slow.sendall(request("blob"))
        eventually(lambda: stats(portal)["output_buffered"] > 0)
        stopping = threading.Thread(target=portal.stop, args=(WAIT,))
        stopping.start()
        assert len(read_response(slow)) > BLOB
        stopping.join(WAIT)
        assert not stopping.is_alive()


def test_the_same_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with (
        serve(workers=1, tls=TLSConfig(Certificate(chain, key))) as portal,
        trusting.wrap_socket(connect(portal, 65536), server_hostname="localhost") as slow,
    ):
        slow.sendall(request("blob"))
        eventually(lambda: stats(portal)["output_buffered"] > 0)
        with trusting.wrap_socket(connect(portal), server_hostname="localhost") as other:
            other.sendall(request("add", b'{"a":1,"b":2}'))
            assert read_response(other).endswith(b"3.0")
        assert len(read_response(slow)) > BLOB
