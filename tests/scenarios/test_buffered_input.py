"""Bodies that arrive in part: what is kept of them is bounded, and callers are authenticated before they are read."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from portal import BearerAuth, HTTPPortal, Identity, WebSocketPortal
from portal.auth import needs_body
from portal.auth.authentication import CredentialSource
from portal.http.middleware.auth_failure_limit import AuthFailureLimit
from portal.http.middleware.security_headers import SecurityHeaders
from portal.serving import Request, Response, ServingConfig
from tests.support.waiting import eventually

WAIT = 10.0
KIB = 1024
MIB = 1024 * KIB


def size_of(text: str) -> int:
    return len(text)


def serve(**settings: object) -> HTTPPortal:
    limits = {"max_unknown_input": 4 * MIB, "max_input": 8 * MIB, "workers": 4, **settings}
    given = {name: limits.pop(name) for name in ("auth", "http_middleware") if name in limits}
    portal = HTTPPortal(config=ServingConfig(**limits), **given)  # type: ignore[arg-type]
    portal.apply(size_of)
    return portal


def connect(portal: HTTPPortal, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT, source_address=(source, 0))


def head(length: int, path: str = "/api/size_of", token: str | None = None, chunked: bool = False) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost"]
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}")
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


def body(size: int) -> bytes:
    return b'{"text":"' + b"x" * (size - 11) + b'"}'


def stats(portal: HTTPPortal) -> dict[str, int]:
    found: dict[str, int] = portal.listener.stats()
    return found


def read_response(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    top, _, rest = data.partition(b"\r\n\r\n")
    length = int(top.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(rest) < length:
        rest += sock.recv(65536)
    return top + b"\r\n\r\n" + rest


def call(portal: HTTPPortal, size: int, source: str = "127.0.0.9", token: str | None = None) -> bytes:
    """Call in two parts, so that the body is kept in part."""
    with connect(portal, source) as sock:
        whole = body(size)
        sock.sendall(head(size, token=token) + whole[:-10])
        eventually(lambda: stats(portal)["input_buffered"] > 0)
        sock.sendall(whole[-10:])
        return read_response(sock)


def send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except OSError:
        return  # rejected already


TOKENS = {"good": Identity("ann")}


class ReadsBody:
    """An authenticator that needs the body."""

    challenge = "Signature"
    needs_body = True

    def authenticate(self, request: CredentialSource) -> Identity | None:
        return Identity("ann") if b"x" in request.body else None  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/api/size_of", "/api/rpc"])
@pytest.mark.parametrize("kind", ["half", "chunked", "all but one byte"])
@pytest.mark.parametrize("auth", [None, ReadsBody()], ids=["public", "needs body"])
def test_half_sent_bodies_have_a_bound(path: str, kind: str, auth: object) -> None:
    """60 bodies of 1 MiB take no 60 MiB, and another client is served."""
    with serve(auth=auth, max_input=4 * MIB) as portal, ExitStack() as half_sent:
        tracemalloc.start()
        try:
            for _ in range(60):
                sock = half_sent.enter_context(connect(portal))
                if kind == "chunked":
                    send(sock, head(0, path, chunked=True) + b"%x\r\n" % (MIB - 10) + b"x" * (600 * KIB))
                else:
                    send(sock, head(MIB, path) + body(MIB)[: 600 * KIB if kind == "half" else -1])
            eventually(lambda: stats(portal)["input_refused"] >= 50)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert stats(portal)["input_buffered"] <= 4 * MIB
        assert peak < 16 * MIB
        assert call(portal, 500 * KIB).startswith(b"HTTP/1.1 200 ")
        half_sent.close()
        eventually(lambda: stats(portal)["connections"] == 0)
        assert (stats(portal)["input_buffered"], stats(portal)["input_unknown"]) == (0, 0)


def test_a_body_that_has_to_give_way_gets_503() -> None:
    with serve(max_input=2 * MIB) as portal, connect(portal) as greedy, connect(portal) as more:
        greedy.sendall(head(MIB) + body(MIB)[:-1])
        eventually(lambda: stats(portal)["input_buffered"] == MIB - 1)
        more.sendall(head(MIB) + body(MIB)[:-5])
        eventually(lambda: stats(portal)["input_buffered"] == 2 * MIB - 6)
        with connect(portal, "127.0.0.2") as small:
            small.sendall(head(1000) + body(1000)[:-1])
            rejected = read_response(greedy)
            assert rejected.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1" in rejected.lower()
            small.sendall(b"}")
            assert read_response(small).startswith(b"HTTP/1.1 200 ")
        more.sendall(body(MIB)[-5:])
        assert read_response(more).startswith(b"HTTP/1.1 200 ")


def test_a_complete_body_is_counted_until_its_response_is_sent() -> None:
    gate, begun = threading.Event(), threading.Event()

    def slow(text: str) -> int:
        begun.set()
        gate.wait(WAIT)
        return len(text)

    with serve() as portal, connect(portal) as sock:
        portal.apply(slow)
        sock.sendall(head(MIB, "/api/slow") + body(MIB))
        assert begun.wait(WAIT)
        assert stats(portal)["input_buffered"] > MIB // 2
        gate.set()
        assert read_response(sock).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: stats(portal)["input_buffered"] == 0)


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_caller_without_a_valid_credential_is_rejected_before_its_body_is_read(token: str | None) -> None:
    with serve(auth=BearerAuth(TOKENS)) as portal, connect(portal) as sock:
        sock.sendall(head(MIB, token=token) + b'{"te')
        early = read_response(sock)
        assert early.startswith(b"HTTP/1.1 401 ")
        assert b"www-authenticate: bearer" in early.lower()
        assert b"connection: close" in early.lower()
        eventually(lambda: stats(portal)["input_buffered"] == 0)


def test_half_sent_bodies_of_unknown_callers_leave_nothing_behind() -> None:
    with serve(auth=BearerAuth(TOKENS)) as portal, ExitStack() as half_sent:
        for _ in range(60):
            sock = half_sent.enter_context(connect(portal))
            send(sock, head(MIB, token="guess") + body(MIB)[: 200 * KIB])
            assert sock.recv(12) == b"HTTP/1.1 401"
        eventually(lambda: stats(portal)["input_buffered"] == 0)
        assert call(portal, 900 * KIB, token="good").startswith(b"HTTP/1.1 200 ")


def test_a_known_caller_may_send_more_than_unknown_ones() -> None:
    with serve(auth=BearerAuth(TOKENS), max_unknown_input=100 * KIB) as portal, connect(portal) as sock:
        for _ in range(2):
            sock.sendall(head(MIB, token="good") + body(MIB)[:-1])
            eventually(lambda: stats(portal)["input_buffered"] == MIB - 1)
            assert stats(portal)["input_unknown"] == 0
            sock.sendall(b"}")
            assert read_response(sock).startswith(b"HTTP/1.1 200 ")
            eventually(lambda: stats(portal)["input_buffered"] == 0)  # or the next figures may be of this request


def test_the_credential_is_checked_once_and_for_one_request_only() -> None:
    asked: list[str] = []

    def check(request: CredentialSource) -> Identity | None:
        asked.append(request.headers.get("authorization", ""))
        return TOKENS.get(asked[-1].removeprefix("Bearer "))

    with serve(auth=check) as portal, connect(portal) as sock:
        sock.sendall(head(MIB, token="good") + body(MIB)[:-1])
        eventually(lambda: stats(portal)["input_buffered"] == MIB - 1)
        sock.sendall(b"}")
        assert read_response(sock).startswith(b"HTTP/1.1 200 ")
        assert asked == ["Bearer good"]
        sock.sendall(head(100) + body(100))  # on the same connection, without a credential
        assert read_response(sock).startswith(b"HTTP/1.1 401 ")
        assert asked == ["Bearer good", ""]


def test_guesses_with_half_a_body_are_limited_too() -> None:
    limited = [SecurityHeaders(), AuthFailureLimit("3/hour")]
    with serve(auth=BearerAuth(TOKENS), http_middleware=limited) as portal:
        statuses = []
        for token in ("a", "b", "c", "d", "good"):
            with connect(portal) as sock:
                sock.sendall(head(MIB, token=token) + b"{")
                response = read_response(sock)
                statuses.append(response[9:12])
                assert b"x-content-type-options" in response.lower()
        assert statuses == [b"401", b"401", b"401", b"429", b"429"]


def test_middleware_that_may_guard_authentication_runs_before_it() -> None:
    """Nobody can find out by half a body whether a credential is right."""

    def closed(request: Request, call_next: Callable[[Request], Response]) -> Response:
        return Response(403)

    with serve(auth=BearerAuth(TOKENS), http_middleware=[closed]) as portal, connect(portal) as sock:
        sock.sendall(head(1000, token="wrong") + body(1000)[:-1])
        eventually(lambda: stats(portal)["input_unknown"] == 999)
        sock.sendall(b"}")
        assert read_response(sock).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(("token", "status"), [(None, b"401"), ("wrong", b"401"), ("t0ken", b"100")])
def test_a_body_is_asked_for_after_its_caller_is_known(token: str | None, status: bytes) -> None:
    """A client that waits for `100 Continue` sends nothing that could have the server look at its credential."""
    with serve(auth=BearerAuth({"t0ken": "ann"})) as portal, connect(portal) as sock:
        sock.sendall(head(1000, token=token).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert sock.recv(12) == b"HTTP/1.1 " + status
        if status == b"100":
            sock.recv(65536)
            sock.sendall(body(1000))
            assert read_response(sock).startswith(b"HTTP/1.1 200 ")


def test_slow_authentication_of_one_client_leaves_workers_to_another() -> None:
    """A worker looks at the credential of each request that has arrived in part."""
    gate, asked = threading.Event(), threading.Semaphore(0)

    def slow(request: CredentialSource) -> Identity | None:
        if request.headers.get("authorization") == "Bearer slow":
            asked.release()
            assert gate.wait(WAIT)
        return Identity("ann")

    with serve(auth=slow) as portal, ExitStack() as halves:
        for _ in range(4):
            sock = halves.enter_context(connect(portal))
            sock.sendall(head(1000, token="slow") + body(1000)[:-1])
        assert all(asked.acquire(timeout=WAIT) for _ in range(3))
        try:
            eventually(lambda: stats(portal)["waiting"] == 1)
            assert call(portal, 1000, "127.0.0.2", token="quick").startswith(b"HTTP/1.1 200 ")
        finally:
            gate.set()


@pytest.mark.parametrize("proxied", [False, True])
def test_slow_handshakes_of_one_client_leave_workers_to_another(proxied: bool) -> None:
    gate, asked = threading.Event(), threading.Semaphore(0)

    def slow(request: CredentialSource) -> Identity | None:
        if request.headers.get("authorization") == "Bearer slow":
            asked.release()
            assert gate.wait(WAIT)
        return Identity("ann")

    def handshake(token: str, client: str) -> bytes:
        lines = ["GET /ws HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        lines += [f"Authorization: Bearer {token}", f"X-Forwarded-For: {client}"]
        return "\r\n".join([*lines, "", ""]).encode()

    proxies = ["127.0.0.0/8"] if proxied else []
    with (
        serve() as http,
        WebSocketPortal(listener=http.listener, auth=slow, trusted_proxies=proxies),
        ExitStack() as clients,
    ):
        for _ in range(5):
            sock = clients.enter_context(connect(http))
            sock.sendall(handshake("slow", "192.0.2.1"))
        assert all(asked.acquire(timeout=WAIT) for _ in range(3))
        other = clients.enter_context(connect(http, "127.0.0.2"))
        try:
            eventually(lambda: stats(http)["waiting"] == 2)
            other.sendall(handshake("quick", "192.0.2.2"))
            assert other.recv(12) == b"HTTP/1.1 101"
        finally:
            gate.set()


@needs_body
def reads_body(request: CredentialSource) -> Identity | None:
    return Identity("ann") if b"x" in request.body else None  # type: ignore[attr-defined]


@pytest.mark.parametrize("auth", [ReadsBody(), reads_body], ids=["class", "callable"])
@pytest.mark.parametrize("path", ["/api/size_of", "/api/rpc"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_that_an_authenticator_needs_counts_as_that_of_an_unknown_caller(
    auth: object, path: str, chunked: bool
) -> None:
    """Until it is complete nobody knows whose it is, also if it has the credential of a caller who is known."""
    with serve(auth=auth) as portal, connect(portal) as sock:
        part = body(MIB)[: 600 * KIB]
        piece = b"%x\r\n" % (MIB // 2) + part[: MIB // 2] if chunked else part
        sock.sendall(head(MIB, path, "good", chunked) + piece)
        eventually(lambda: stats(portal)["input_buffered"] >= MIB // 2)
        assert stats(portal)["input_unknown"] == stats(portal)["input_buffered"]


def test_bodies_that_an_authenticator_needs_have_the_bound_of_unknown_callers() -> None:
    """Although the process could keep more."""
    with serve(auth=ReadsBody(), max_unknown_input=2 * MIB, max_input=64 * MIB) as portal, ExitStack() as half_sent:
        for _ in range(30):
            send(half_sent.enter_context(connect(portal)), head(MIB, token="good") + body(MIB)[: 600 * KIB])
        eventually(lambda: stats(portal)["input_refused"] >= 25)
        assert stats(portal)["input_buffered"] <= 2 * MIB
        assert call(portal, 500 * KIB).startswith(b"HTTP/1.1 200 ")
        half_sent.close()
        eventually(lambda: stats(portal)["input_unknown"] == 0)


def test_a_body_is_no_longer_of_an_unknown_caller_once_it_has_authenticated_him() -> None:
    gate, begun = threading.Event(), threading.Event()

    def slow(text: str) -> int:
        begun.set()
        gate.wait(WAIT)
        return len(text)

    with serve(auth=ReadsBody()) as portal, connect(portal) as sock:
        portal.apply(slow)
        sock.sendall(head(MIB, "/api/slow") + body(MIB))
        assert begun.wait(WAIT)
        assert stats(portal)["input_buffered"] > MIB // 2
        gate.set()
        assert read_response(sock).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: stats(portal)["input_buffered"] == stats(portal)["input_unknown"] == 0)


def test_a_slow_authenticator_holds_up_no_other_connection() -> None:
    gate, begun = threading.Event(), threading.Event()

    def check(request: CredentialSource) -> Identity | None:
        if "slow" in request.headers.get("authorization", ""):
            begun.set()
            gate.wait(WAIT)
        return Identity("ann")

    with serve(auth=check, workers=2) as portal, connect(portal) as slow:
        slow.sendall(head(MIB, token="slow") + body(MIB)[:-1])
        assert begun.wait(WAIT)
        assert call(portal, 1000, token="other").startswith(b"HTTP/1.1 200 ")
        gate.set()
        slow.sendall(b"}")
        assert read_response(slow).startswith(b"HTTP/1.1 200 ")
