"""A client with very many connections: others still connect and are served, and descriptors do not run out."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from portal import HTTPPortal
from portal.serving import Certificate, ServingConfig, TLSConfig
from tests.support.waiting import eventually

WAIT = 10.0
BODY = b'{"a":1,"b":2}'
CALL = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def add(a: float, b: float) -> float:
    return a + b


def serve(**settings: object) -> HTTPPortal:
    trusted = settings.pop("trusted_proxies", ())
    portal = HTTPPortal(config=ServingConfig(**settings), trusted_proxies=trusted)  # type: ignore[arg-type]
    portal.apply(add)
    return portal


def connect(portal: HTTPPortal, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT, source_address=(source, 0))


def call(sock: socket.socket) -> bytes:
    sock.sendall(CALL)
    data = b""
    while b"3.0" not in data:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def is_served(portal: HTTPPortal, source: str = "127.0.0.1") -> bool:
    try:
        with connect(portal, source) as sock:
            return call(sock).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def stats(portal: HTTPPortal) -> dict[str, int]:
    found: dict[str, int] = portal.listener.stats()
    return found


HALF = b"POST /api/add HTTP/1.1\r\nHost: loc"
HALF_BODY = CALL[:-3]


@pytest.mark.parametrize("sent", [b"", HALF, HALF_BODY], ids=["idle", "half a head", "half a body"])
@pytest.mark.parametrize("source", ["127.0.0.2", "127.0.0.1"], ids=["another client", "the same client"])
def test_a_client_with_too_many_connections_keeps_nobody_out(source: str, sent: bytes) -> None:
    with serve(connections=50) as portal, ExitStack() as many:
        good = many.enter_context(connect(portal, "127.0.0.3"))
        assert call(good).startswith(b"HTTP/1.1 200 ")
        for _ in range(60):
            many.enter_context(connect(portal)).sendall(sent)
        eventually(lambda: stats(portal)["accepted"] == 61)
        assert stats(portal)["connections"] <= 26  # the share of that client, and the good one
        assert all(is_served(portal, source) for _ in range(10))
        assert call(good).startswith(b"HTTP/1.1 200 ")
        assert stats(portal)["connections_evicted"] >= 35


def test_many_clients_at_the_limit_lose_the_longest_idle_connections() -> None:
    with serve(connections=10, connections_per_client=10) as portal, ExitStack() as many:
        first = many.enter_context(connect(portal, "127.0.0.2"))
        assert call(first).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: stats(portal)["parked"] == 1)
        for number in range(12):
            assert call(many.enter_context(connect(portal, f"127.0.1.{number + 1}"))).startswith(b"HTTP/1.1 200 ")
        assert first.recv(10) == b""  # it was idle for the longest time
        assert stats(portal)["connections"] <= 10
        assert stats(portal)["rejected"] == 0


def test_connections_in_use_are_not_evicted() -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def slow() -> str:
        begun.release()
        gate.wait(WAIT)
        return "done"

    with HTTPPortal(config=ServingConfig(workers=8, connections=4, connections_per_client=2)) as portal:
        portal.apply(slow)
        with ExitStack() as busy:
            for source in ("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"):
                sock = busy.enter_context(connect(portal, source))
                sock.sendall(CALL.replace(b"/api/add", b"/api/slow").replace(BODY, b"{}           "))
                assert begun.acquire(timeout=WAIT)
            with connect(portal) as one_more, connect(portal, "127.0.0.3") as another:
                assert one_more.recv(10) == b""
                assert another.recv(10) == b""
            assert stats(portal)["rejected"] == 2
            gate.set()
            data = sock.recv(65536)
            while b'"done"' not in data:
                data += sock.recv(65536)


def test_a_trusted_proxy_has_no_share() -> None:
    with serve(connections=20, trusted_proxies=["127.0.0.1"]) as portal, ExitStack() as many:
        kept = [many.enter_context(connect(portal)) for _ in range(18)]
        eventually(lambda: stats(portal)["accepted"] == 18)
        assert all(call(sock).startswith(b"HTTP/1.1 200 ") for sock in kept)
        assert stats(portal)["connections_evicted"] == 0


def test_clients_of_a_unix_socket_have_no_share(tmp_path: Path) -> None:
    path = tmp_path / "portal.sock"
    with HTTPPortal(f"unix:{path}", config=ServingConfig(connections=10)) as portal, ExitStack() as many:
        portal.apply(add)
        for _ in range(9):
            sock = many.enter_context(socket.socket(socket.AF_UNIX))
            sock.settimeout(WAIT)
            sock.connect(str(path))
            assert call(sock).startswith(b"HTTP/1.1 200 ")
        assert stats(portal)["connections_evicted"] == 0


FEW_FILES = """
import json, logging, resource, socket
logging.basicConfig(level=logging.WARNING)
from portal import Consumer, HTTPPortal
from portal.serving import ServingConfig

def add(a: float, b: float) -> float:
    return a + b

resource.setrlimit(resource.RLIMIT_NOFILE, (200, 4096))
portal = HTTPPortal(config=ServingConfig(connections=1000))
address = portal.apply(add)
portal.start()
portal.stop()
portal.start()
limit = portal.listener.stats()["connections_limit"]
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))  # for the client's side, in the same process
kept = [socket.create_connection(("127.0.0.1", portal.port)) for _ in range(300)]
with Consumer() as consumer:
    value = consumer.call_at(address, {"a": 1, "b": 2}, timeout=10)
print(json.dumps([limit, value, portal.listener.stats()["connections"] <= limit]))
portal.close()
"""


def test_the_limit_of_open_files_leaves_a_reserve() -> None:
    done = subprocess.run([sys.executable, "-c", FEW_FILES], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [136, 3.0, True]
    assert done.stderr.count("connections=1000 exceeds the limit of open files; the listener uses 136") == 1


def test_unfinished_handshakes_keep_nobody_out(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with (
        serve(connections=100, max_handshakes=10, tls=TLSConfig(Certificate(chain, key))) as portal,
        ExitStack() as many,
    ):
        good = many.enter_context(trusting.wrap_socket(connect(portal, "127.0.0.2"), server_hostname="localhost"))
        assert call(good).startswith(b"HTTP/1.1 200 ")
        for sent in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01") * 10:
            many.enter_context(connect(portal)).sendall(sent)
        eventually(lambda: stats(portal)["accepted"] == 31)
        assert stats(portal)["handshakes"] <= 10
        for source in ("127.0.0.1", "127.0.0.2"):
            with trusting.wrap_socket(connect(portal, source), server_hostname="localhost") as sock:
                assert call(sock).startswith(b"HTTP/1.1 200 ")
        assert call(good).startswith(b"HTTP/1.1 200 ")
        assert stats(portal)["connections_evicted"] >= 20
