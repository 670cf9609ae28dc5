"""WebSocketApp: which handshakes are accepted, and what the others are told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from portal import ApiKeyAuth, BearerAuth, Identity
from portal.http.middleware.auth_failure_limit import AuthFailureLimit
from portal.http11.host_patterns import AllowedHosts
from portal.network.host_check import HostCheck
from portal.serving import ServingConfig
from portal.websocket.deflate import Deflate
from portal.websocket.handshake import Agreed, Declined
from portal.websocket.server.settings import WebSocketConfig
from tests.support.waiting import eventually
from tests.support.websocket_listener import PLAIN, Client, WebSocketServer

ANN = Identity("ann", scopes=["a"])


def me(context: Any = None) -> str | None:
    from portal import CallContext

    current = CallContext.current()
    return None if current is None or current.identity is None else current.identity.name


def cookie(request: Any) -> Identity | None:
    """Authenticate the session of a browser."""
    return ANN if "session=s1" in request.headers.get("cookie", "") else None


def status_of(server: WebSocketServer, **options: Any) -> int:
    with Client(server.listener.port, **options) as client:
        return client.agreed.status if isinstance(client.agreed, Declined) else 101


@pytest.fixture
def plain() -> Iterator[WebSocketServer]:
    with WebSocketServer(me) as server:
        yield server


def test_a_handshake_is_accepted_at_the_path_and_below(plain: WebSocketServer) -> None:
    for path in ("/ws", "/ws/add/3f2a9c51", "/ws?x=1"):
        with plain.connect(path=path) as client:
            assert b"\r\nPortal-Path: /ws" in client.head
            assert client.call("me") is None
    assert status_of(plain, path="/other") == 404


def test_the_subprotocol_is_optional(plain: WebSocketServer) -> None:
    with plain.connect(subprotocols=("x", "jsonrpc-2.0")) as client:
        assert client.agreed == Agreed("jsonrpc-2.0", None)
    with plain.connect(subprotocols=("x",)) as client:
        assert client.agreed == Agreed(None, None)


def test_a_message_may_come_with_the_handshake(plain: WebSocketServer) -> None:
    from portal.websocket.frames import FrameProtocol

    glued = FrameProtocol("client").text('{"jsonrpc":"2.0","method":"me","id":7}')
    with plain.connect(glued=glued) as client:
        assert client.receive() == {"jsonrpc": "2.0", "result": None, "id": 7}


def test_what_is_not_a_handshake_is_told_so(plain: WebSocketServer) -> None:
    with socket.create_connection(("127.0.0.1", plain.listener.port), timeout=10) as sock:
        sock.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nUpgrade: websocket\r\n" in answer
    eventually(lambda: plain.connections.rejected.value == 1)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("http://localhost", 101),
        ("https://localhost", 403),
        ("http://evil.example", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_origins_are_rejected(plain: WebSocketServer, origin: str | None, status: int) -> None:
    headers = [] if origin is None else [("Origin", origin)]
    assert status_of(plain, headers=headers) == status


def test_a_proxy_may_tell_that_the_client_uses_tls() -> None:
    headers = [("Origin", "https://localhost"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "203.0.113.7")]
    with WebSocketServer(me) as server:
        assert status_of(server, headers=headers) == 403  # anybody may send these headers
    with WebSocketServer(me, trusted_proxies=["127.0.0.1"]) as server, server.connect(headers=headers):
        assert server.only().address == "203.0.113.7"


def test_other_hosts_are_rejected() -> None:
    with WebSocketServer(me, hosts=HostCheck(AllowedHosts(["shop.example"]))) as server:
        assert status_of(server, host="shop.example") == 101
        with Client(server.listener.port, host="evil.example") as client:
            assert isinstance(client.agreed, Declined)
            assert client.agreed.status == 421


# credentials


@pytest.mark.parametrize(
    ("auth", "good", "bad"),
    [
        (
            BearerAuth({"t": ANN}),
            {"headers": [("Authorization", "Bearer t")]},
            {"headers": [("Authorization", "Bearer x")]},
        ),
        (ApiKeyAuth({"k": ANN}), {"headers": [("X-API-Key", "k")]}, {"headers": [("X-API-Key", "x")]}),
        (ApiKeyAuth({"k": ANN}, header=None, query="token"), {"path": "/ws?token=k"}, {"path": "/ws?token=x"}),
        (cookie, {"headers": [("Cookie", "a=1; session=s1")]}, {"headers": [("Cookie", "session=s2")]}),
    ],
    ids=["bearer", "api key", "query token", "cookie"],
)
def test_the_handshake_has_the_credential(auth: Any, good: dict[str, Any], bad: dict[str, Any]) -> None:
    with WebSocketServer(me, auth=auth) as server:
        with server.connect(**good) as client:
            assert client.call("me") == "ann"
            assert server.only().client == "identity:ann"
        for wrong in (bad, {}):
            with Client(server.listener.port, **wrong) as client:
                assert isinstance(client.agreed, Declined)
                assert client.agreed.status == 401
                assert client.agreed.headers["www-authenticate"]
                assert client.problem()["code"] == "authentication_error"


def test_a_credential_may_come_later_if_that_is_allowed() -> None:
    auth = BearerAuth({"t": ANN})
    with WebSocketServer(me, auth=auth, late_credentials=True) as server:
        with server.connect() as client:
            assert client.error("me")["data"]["code"] == "authentication_error"
            client.call("rpc.authenticate", {"authorization": "Bearer t"})
            assert client.call("me") == "ann"
            assert server.only().client == "identity:ann"
        assert status_of(server, headers=[("Authorization", "Bearer x")]) == 401  # a wrong one may not


def test_a_client_that_sends_no_credential_is_closed() -> None:
    config = WebSocketConfig(deflate=None, handshake_timeout=0.05)
    with (
        WebSocketServer(me, auth=BearerAuth({"t": ANN}), late_credentials=True, config=config) as server,
        server.connect() as client,
    ):
        assert client.closed() == (4408, "no credential was sent within 0.05 s")


def test_failed_handshakes_count_for_the_limit_of_failures() -> None:
    limit = AuthFailureLimit("2/hour")
    with WebSocketServer(me, auth=BearerAuth({"t": ANN}), request_middleware=[limit]) as server:
        bad = [("Authorization", "Bearer x")]
        assert [status_of(server, headers=bad) for _ in range(3)] == [401, 401, 429]
        assert status_of(server, headers=[("Authorization", "Bearer t")]) == 429
    limit.close()


# limits


def test_connections_of_one_client_are_limited() -> None:
    config = WebSocketConfig(deflate=None, max_connections=10, max_connections_per_client=2)
    with WebSocketServer(me, config=config) as server, server.connect(), server.connect() as second:
        eventually(lambda: len(server.connections) == 2)
        with Client(server.listener.port) as third:
            assert isinstance(third.agreed, Declined)
            assert third.agreed.status == 429
            assert third.agreed.headers["retry-after"] == "1"
        second.sock.close()
        eventually(lambda: len(server.connections) == 1)
        with server.connect() as again:
            assert again.call("me") is None


def test_connections_in_all_are_limited() -> None:
    config = WebSocketConfig(deflate=None, max_connections=1, max_connections_per_client=1)
    with WebSocketServer(me, config=config) as server, server.connect():
        eventually(lambda: len(server.connections) == 1)
        assert status_of(server) == 503


def test_compression_is_agreed_on_and_used() -> None:
    def text(size: int) -> str:
        return "x" * size

    with WebSocketServer(text, config=WebSocketConfig()) as server, server.connect(deflate=Deflate()) as client:
        assert isinstance(client.agreed, Agreed)
        assert client.agreed.deflate is not None
        assert client.call("text", {"size": 100_000}) == "x" * 100_000
        assert client.call("text", {"size": 10}) == "x" * 10
        described = server.only().describe()
        assert described["compressed"] is True
        assert described["bytes_out"] < 5000


def test_without_compression_none_is_agreed_on() -> None:
    with WebSocketServer(me, config=PLAIN, serving=ServingConfig()) as server, server.connect(deflate=Deflate()) as one:
        assert one.agreed == Agreed(None, None)
