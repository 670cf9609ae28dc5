"""TLSConnectionPools, with a server of one thread."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
import trustme

from portal import Address
from portal.http import ClientTLS
from portal.http.client.connection import HTTPConnection
from portal.http.client.pool import ConnectionLimits
from portal.http.client.tls_connection import TLSConnection
from portal.http.client.tls_pool import TLSConnectionPools
from portal.network.dial import NotSent
from tests.support.tls_pair import WAIT, in_background

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Respond to one request on each connection, and note the names that clients ask for."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self._context)
        self._context.sni_callback = self._note
        self.names: list[str | None] = []
        self._kept: list[ssl.SSLSocket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        in_background(self._serve)

    def _note(self, sock: ssl.SSLSocket, name: str, context: ssl.SSLContext) -> None:
        self.names.append(name)

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
                secure = self._context.wrap_socket(sock, server_side=True)
                secure.recv(1000)
                secure.sendall(RESPONSE)
                self._kept.append(secure)
            except ssl.SSLError:
                continue
            except OSError:
                return

    def close(self) -> None:
        self._listening.close()
        for secure in self._kept:
            secure.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def opened() -> Iterator[list[TLSConnection]]:
    """The connections of the test, which its pools do not close."""
    yield _opened
    while _opened:
        _opened.pop().close()


_opened: list[TLSConnection] = []


def called(pools: TLSConnectionPools, host: str, port: int) -> TLSConnection:
    deadline = monotonic() + WAIT
    connection = pools.acquire(Address.parse(f"https://{host}:{port}/"), deadline)
    assert isinstance(connection, TLSConnection)
    _opened.append(connection)
    assert connection.exchange(b"request", deadline).read_buffered() == b""
    return connection


def test_a_connection_is_kept_and_a_new_one_resumes_its_session(server: Server) -> None:
    pools = TLSConnectionPools(ConnectionLimits(), ClientTLS(ca=server.ca))
    first = called(pools, "localhost", server.port)
    assert not first.resumed
    address = Address.parse(f"https://localhost:{server.port}/")
    assert pools.acquire(address, None) is first
    first.close()  # not given back, so that the next call connects
    second = called(pools, "localhost", server.port)
    assert second.resumed
    assert not called(pools, "127.0.0.1", server.port).resumed  # a session is of one name
    pools.close()
    assert not called(pools, "localhost", server.port).resumed
    pools.close()


def test_the_name_that_the_server_is_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(host: str, port: int, limit: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), WAIT)  # a system may not know "localhost."

    monkeypatch.setattr("portal.http.client.pool.connect_to_host", connect)
    pools = TLSConnectionPools(ConnectionLimits(), ClientTLS(ca=server.ca))
    for host in ("localhost", "localhost.", "127.0.0.1"):
        called(pools, host, server.port)
    assert server.names == ["localhost", "localhost", None]
    pools.close()


def test_a_child_process_takes_neither_connections_nor_sessions(server: Server) -> None:
    pools = TLSConnectionPools(ConnectionLimits(), ClientTLS(ca=server.ca))
    called(pools, "localhost", server.port)
    (pool,) = pools._pools.values()
    pool.after_fork()
    assert not called(pools, "localhost", server.port).resumed
    pools.close()


def test_an_untrusted_server_is_sent_nothing(server: Server) -> None:
    pools = TLSConnectionPools(ConnectionLimits(), ClientTLS())
    with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED") as raised:
        pools.acquire(Address.parse(f"https://localhost:{server.port}/"), None)
    assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)


def test_the_default_port_is_that_of_https(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []

    def refuse(host: str, port: int, limit: float) -> HTTPConnection:
        made.append((host, port))
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr("portal.http.client.pool.connect_to_host", refuse)
    pools = TLSConnectionPools(ConnectionLimits(), ClientTLS())
    with pytest.raises(NotSent, match="refused"):
        pools.acquire(Address.parse("https://orders.example/api"), None)
    assert made == [("orders.example", 443)]
