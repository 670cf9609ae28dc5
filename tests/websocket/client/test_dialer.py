"""Dialer, with servers of the package `websockets` and scripted ones."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from portal import Address
from portal.auth.credentials import credentials_of
from portal.errors import (
    AuthenticationError,
    AuthorizationError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RegistryError,
    TransportError,
)
from portal.network.proxies import Proxies
from portal.network.tls import ClientTLS
from portal.websocket.client.dialer import Dialed, Dialer
from portal.websocket.client.failures import is_refused
from portal.websocket.deflate import Deflate
from portal.websocket.frames import TextMessage
from tests.support.forward_proxy import ForwardProxy
from tests.support.ports import free_port
from tests.support.websocket_peer import websocket_peer

WAIT = 20.0


def echo(connection: Any) -> None:
    for message in connection:
        connection.send(message)


def address_of(port: int, scheme: str = "ws", host: str = "127.0.0.1") -> Address:
    return Address.parse(f"{scheme}://{host}:{port}/ws")


def dialer_of(**options: Any) -> Dialer:
    tls, proxies = options.pop("tls", ClientTLS()), Proxies(options.pop("proxy", None))
    return Dialer(tls, proxies, credentials_of(options.pop("auth", None)), connect_timeout=WAIT, **options)


def exchange(dialed: Dialed, text: str) -> str:
    """Send a text and return the text that comes back."""
    with dialed.sock as sock:
        sock.settimeout(WAIT)
        sock.sendall(dialed.frames.text(text))
        events = dialed.frames.feed(dialed.rest)
        while not events:
            events = dialed.frames.feed(sock.recv(65536))
    (event,) = events
    assert isinstance(event, TextMessage)
    return str(event.text)


@pytest.mark.parametrize("deflate", [None, Deflate(min_size=0), Deflate(min_size=0, context_takeover=True)])
def test_a_server_of_another_library(deflate: Deflate | None) -> None:
    with websocket_peer(echo) as port:
        assert exchange(dialer_of(deflate=deflate).dial(address_of(port)), "hallo" * 500) == "hallo" * 500


def test_tls_and_a_tunnel(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "orders.invalid").configure_cert(context)
    with websocket_peer(echo, tls=context) as port, ForwardProxy() as proxy:
        tls = ClientTLS(ca=ca)
        assert exchange(dialer_of(tls=tls).dial(address_of(port, "wss")), "a") == "a"
        through = dialer_of(tls=tls, proxy=proxy.url).dial(address_of(port, "wss", "orders.invalid"))
        assert exchange(through, "b") == "b"
        assert proxy.lines == [f"CONNECT orders.invalid:{port} HTTP/1.1"]
        with pytest.raises(TransportError, match="cannot trust the certificate") as caught:
            dialer_of().dial(address_of(port, "wss"))
        assert (caught.value.delivery, caught.value.retryable) == ("not_sent", False)


def test_plain_text_through_a_tunnel_to_a_proxy_with_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with websocket_peer(echo) as port, ForwardProxy(tls=context) as proxy:
        dialer = dialer_of(tls=ClientTLS(ca=ca), proxy=proxy.url)
        assert exchange(dialer.dial(address_of(port, "ws", "orders.invalid")), "a") == "a"
        with pytest.raises(TransportError, match="use an http:// proxy") as caught:
            dialer.dial(address_of(port, "wss", "orders.invalid"))
        assert not caught.value.retryable


@pytest.mark.parametrize(
    ("response", "retryable"),
    [(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", False), (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", True)],
)
def test_a_proxy_that_opens_no_tunnel(response: bytes, retryable: bool) -> None:
    with ForwardProxy(response) as proxy, pytest.raises(TransportError) as caught:
        dialer_of(proxy=proxy.url).dial(address_of(80, "ws", "orders.invalid"))
    assert (caught.value.delivery, caught.value.retryable) == ("not_sent", retryable)


@contextmanager
def scripted(respond: Callable[[socket.socket, bytes], Any]) -> Iterator[int]:
    """Accept one connection after the other; `respond` gets the socket and the head of the request."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            with sock:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += sock.recv(65536)
                respond(sock, head)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(WAIT)


def problem(status: str, code: str) -> bytes:
    body = f'{{"code": "{code}", "detail": "no {code}", "status": {status[:3]}}}'.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("response", "cls", "words"),
    [
        (problem("403 Forbidden", AuthorizationError.code), AuthorizationError, "no "),
        (problem("503 Unavailable", "overloaded"), OverloadedError, "no overloaded"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", RegistryError, "404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ProtocolError, "handshake with 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", ProtocolError, "handshake with 302"),
        (b"HTTP/1.1 426 Upgrade Required\r\n\r\n", PortalError, "426"),
        (b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", ProtocolError, "Sec-WebSocket-Accept"),
        (b"HTTP/1.1 500 x\r\nContent-Length: 99999999999\r\n\r\n", PortalError, "500"),
        (b"nonsense\r\n\r\n", ProtocolError, "not HTTP/1.1"),
        (b"HTTP/1.1 101 x\r\n", TransportError, "closed the connection without a response"),
    ],
)
def test_a_server_that_does_not_accept(response: bytes, cls: type[PortalError], words: str) -> None:
    with scripted(lambda sock, head: sock.sendall(response)) as port:
        with pytest.raises(cls, match=words) as caught:
            dialer_of().dial(address_of(port))
        assert caught.value.delivery == "not_sent"
        assert caught.value.address == f"ws://127.0.0.1:{port}/ws"


def test_no_server_and_a_silent_server() -> None:
    with pytest.raises(TransportError, match="cannot connect to") as caught:
        dialer_of().dial(address_of(free_port()))
    assert (caught.value.delivery, caught.value.retryable) == ("not_sent", True)
    assert is_refused(caught.value)
    with pytest.raises(TransportError, match="through the proxy") as caught:
        dialer_of(proxy=f"http://127.0.0.1:{free_port()}").dial(address_of(1, host="orders.invalid"))
    assert not is_refused(caught.value)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dialer = Dialer(ClientTLS(), Proxies(), connect_timeout=0.05)
        with pytest.raises(TransportError, match="timed out") as caught:
            dialer.dial(address_of(silent.getsockname()[1]))
        assert caught.value.delivery == "not_sent"


class Renewed:
    """A credential that gives the next token after each rejection."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens[0]}"}

    def rejected(self, address: Address) -> bool:
        if len(self.tokens) > 1:
            self.tokens.pop(0)
        return True


@pytest.mark.parametrize(("tokens", "accepted"), [(["old", "good"], True), (["old"], False), (["old", "bad"], False)])
def test_a_rejected_credential_is_renewed_once(tokens: list[str], accepted: bool) -> None:
    seen: list[str] = []

    def respond(sock: socket.socket, head: bytes) -> None:
        lines = head.decode().split("\r\n")
        token = next(line for line in lines if line.startswith("Authorization")).split()[-1]
        seen.append(token)
        if token == "good":
            sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")  # the credential is accepted
        else:
            sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    with scripted(respond) as port, pytest.raises(AuthorizationError if accepted else AuthenticationError):
        dialer_of(auth=Renewed(*tokens)).dial(address_of(port))
    assert seen == tokens


@pytest.mark.parametrize(
    ("told", "base"),
    [("/ws", ("ws",)), ("/", ()), (None, ("ws", "users")), ("/other", ("ws", "users")), ("/w%73/", ("ws",))],
)
def test_the_path_of_the_portal_is_read(told: str | None, base: tuple[str, ...]) -> None:
    """A path that does not contain the one that was asked for is not believed."""

    def process(connection: Any, request: Any, response: Any) -> None:
        if told is not None:
            response.headers["Portal-Path"] = told

    with websocket_peer(echo, process_response=process) as port:
        dialed = dialer_of().dial(address_of(port).child("users"))
        assert dialed.base == base
        dialed.sock.close()
