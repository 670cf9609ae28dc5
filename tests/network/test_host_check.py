from __future__ import annotations

import http.client
import io
import json
import logging
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, WebSocketPortal
from portal.errors import ConfigError
from portal.http import CORS
from portal.http11.host_patterns import AllowedHosts
from portal.network.host_check import HostCheck
from portal.serving import Request, Response
from tests.support.http_messages import request_of


def refund() -> str:
    return "refunded"


def post(portal: HTTPPortal, path: str, host: str, body: bytes = b"{}", target: str = "") -> tuple[int, dict[str, Any]]:
    """Return status and body of a POST to the portal's own address, with another Host header."""
    client = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=10)
    client.putrequest("POST", target or path, skip_host=True)
    client.putheader("Host", host)
    client.putheader("Content-Type", "application/json")
    client.putheader("Content-Length", str(len(body)))
    client.endheaders(body)
    response = client.getresponse()
    found = response.status, json.loads(response.read())
    client.close()
    return found


@pytest.mark.parametrize("host", ["evil.example:{port}", "", "localhost.evil.example", "127.0.0.1.nip.io"])
def test_a_portal_on_a_loopback_address_rejects_other_hosts(host: str) -> None:
    with HTTPPortal() as portal:
        portal.apply(refund)
        for _ in range(2):
            status, problem = post(portal, "/api/refund", host.format(port=portal.port))
            assert (status, problem["code"]) == (421, "protocol_error")
            assert "allowed_hosts" in problem["hint"]
        assert portal.stats()["hosts_rejected"] == 2
        assert portal.stats()["calls"] == 0
        for good in ("localhost", f"127.0.0.1:{portal.port}", "[::1]", "LocalHost."):
            assert post(portal, "/api/refund", good) == (200, "refunded")


def shake_hands(portal: WebSocketPortal, host: str, *headers: str) -> bytes:
    """Return the head of the response to a handshake that is sent to the portal's own address."""
    lines = ["GET /ws HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade", *headers]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    with socket.create_connection(("127.0.0.1", portal.port), timeout=10) as sock:
        sock.sendall("\r\n".join(lines).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                break
            data += piece
    return data.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "2130706433",
        "127.1",
        "[::ffff:127.0.0.1]",
    ],
)
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "on the listener of an HTTPPortal"])
def test_a_websocket_portal_on_a_loopback_address_rejects_other_hosts(host: str, shared: bool) -> None:
    """By default, without `allowed_hosts`; a page of the same origin as the Host as well."""
    with ExitStack() as stack:
        listener = stack.enter_context(HTTPPortal()).listener if shared else None
        portal = stack.enter_context(WebSocketPortal(listener=listener))
        portal.apply(refund)
        foreign = host.format(port=portal.port)
        for headers in ([], [f"Origin: http://{foreign}"]):
            assert shake_hands(portal, foreign, *headers).startswith(b"HTTP/1.1 421 ")
        assert portal.stats()["hosts_rejected"] == 2
        assert portal.stats()["connections"]["accepted"] == 0
        for good in ("localhost", f"127.0.0.1:{portal.port}", "[::1]", "LocalHost."):
            assert shake_hands(portal, good).startswith(b"HTTP/1.1 101 ")
        assert portal.stats()["hosts_rejected"] == 2


def test_a_websocket_portal_on_a_public_address_accepts_every_host_unless_it_has_a_list() -> None:
    with WebSocketPortal("0.0.0.0") as portal:
        assert shake_hands(portal, "shop.example").startswith(b"HTTP/1.1 101 ")
    with WebSocketPortal("0.0.0.0", allowed_hosts=["shop.example"]) as portal:
        assert shake_hands(portal, "shop.example").startswith(b"HTTP/1.1 101 ")
        assert shake_hands(portal, "localhost").startswith(b"HTTP/1.1 421 ")


def test_every_path_of_a_portal_is_protected() -> None:
    batch = b'[{"jsonrpc":"2.0","id":1,"method":"refund"},{"jsonrpc":"2.0","id":2,"method":"rpc.discover"}]'
    with HTTPPortal() as portal:
        portal.apply(refund)
        assert post(portal, "/api/rpc", "evil.example", batch)[0] == 421
        for path in ("/api", "/openapi.json", "/docs", "/api/refund", "/api/nothing"):
            client = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=10)
            client.request("GET", path, headers={"Host": "evil.example"})
            assert client.getresponse().status == 421
            client.close()
        assert len(post(portal, "/api/rpc", "localhost", batch)[1]) == 2


def test_the_authority_of_the_target_counts() -> None:
    """RFC 9112 section 3.2.2: it replaces the Host header."""
    with HTTPPortal() as portal:
        portal.apply(refund)
        assert post(portal, "", "localhost", target="http://evil.example/api/refund")[0] == 421
        assert post(portal, "", "evil.example", target="http://localhost/api/refund")[0] == 200


def test_a_repeated_head_is_checked_again() -> None:
    """Heads are cached; a head with an accepted host does not let another one in."""
    with HTTPPortal() as portal:
        portal.apply(refund)
        hosts = ["localhost", "evil.example"] * 4
        assert [post(portal, "/api/refund", host)[0] for host in hosts] == [200, 421] * 4


def test_no_middleware_runs_for_another_host() -> None:
    seen: list[str] = []

    def middleware(request: Request, call_next: Any) -> Response:
        seen.append(request.headers["host"])
        return call_next(request)

    with HTTPPortal(http_middleware=[middleware, CORS("*")]) as portal:
        portal.apply(refund)
        assert post(portal, "/api/refund", "evil.example")[0] == 421
        assert post(portal, "/api/refund", "localhost")[0] == 200
    assert seen == ["localhost"]


def test_allowed_hosts_replace_the_default() -> None:
    with HTTPPortal(allowed_hosts=["shop.example", "*.shops.example"]) as portal:
        portal.apply(refund)
        hosts = ["shop.example", "Shop.example:81", "a.shops.example", "localhost", "evil.example", "shops.example"]
        assert [post(portal, "/api/refund", host)[0] for host in hosts] == [200, 200, 200, 421, 421, 421]
    with HTTPPortal(allowed_hosts=["*"]) as portal:
        portal.apply(refund)
        assert post(portal, "/api/refund", "evil.example") == (200, "refunded")


def test_a_portal_on_a_public_address_accepts_every_host_unless_it_has_a_list() -> None:
    with HTTPPortal("0.0.0.0") as portal:
        portal.apply(refund)
        assert post(portal, "/api/refund", "shop.example") == (200, "refunded")
    with HTTPPortal("0.0.0.0", allowed_hosts=["shop.example"]) as portal:
        portal.apply(refund)
        assert [post(portal, "/api/refund", host)[0] for host in ("shop.example", "evil.example")] == [200, 421]


def test_the_own_address_of_a_loopback_portal_is_accepted() -> None:
    with HTTPPortal("127.0.0.2") as portal, Consumer() as consumer:
        assert consumer.call_at(portal.apply(refund)) == "refunded"


def test_a_name_of_a_loopback_address_is_a_loopback_bind() -> None:
    with HTTPPortal("localhost") as portal:
        portal.apply(refund)
        assert [post(portal, "/api/refund", host)[0] for host in ("localhost", "evil.example")] == [200, 421]


def test_http_1_0_without_a_host_is_accepted() -> None:
    with HTTPPortal() as portal:
        portal.apply(refund)
        with socket.create_connection(("127.0.0.1", portal.port), timeout=10) as sock:
            sock.sendall(b"GET /api/refund HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_unix_socket_accepts_every_host(tmp_path: Path) -> None:
    """No browser reaches it, and a proxy passes the public name on."""
    path = str(tmp_path / "s")
    with HTTPPortal(f"unix:{path}") as portal:
        portal.apply(refund)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(path)
            sock.sendall(b"GET /api/refund HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def wsgi_status(portal: HTTPPortal, host: str) -> str:
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/api/refund", "HTTP_HOST": host, "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_LENGTH": "2", "CONTENT_TYPE": "application/json",
        "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(b"{}"),
    }  # fmt: skip
    list(portal.wsgi(environ, lambda status, headers, *rest: statuses.append(status[:3])))  # type: ignore[arg-type,return-value]
    return statuses[0]


def test_under_wsgi_only_a_list_is_enforced() -> None:
    """The outer server has the socket; behind a proxy it is on a loopback address and serves a public name."""
    with HTTPPortal() as portal:  # it also serves by itself, which changes nothing
        portal.apply(refund)
        assert wsgi_status(portal, "shop.example") == "200"
        assert post(portal, "/api/refund", "shop.example")[0] == 421
    with HTTPPortal(listen=False, allowed_hosts=["shop.example"]) as portal:
        portal.apply(refund)
        assert [wsgi_status(portal, host) for host in ("shop.example", "evil.example")] == ["200", "421"]


def test_rejections_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    check = HostCheck(AllowedHosts(["shop.example"]), clock=lambda: now[0])
    with caplog.at_level(logging.WARNING, "portal.http"):
        for moment in (100.0, 101.0, 109.9, 110.0):
            now[0] = moment
            assert not check.accepts(request_of(host="evil.example"))
    assert len(caplog.records) == 2
    assert "Host 'evil.example' is not one of the allowed hosts" in caplog.text
    assert check.rejected.value == 4


def test_the_known_values_are_bounded() -> None:
    check = HostCheck(AllowedHosts(["*"]))
    for number in range(1000):
        assert check.accepts(request_of(host=f"h{number}.example"))
        assert len(check.known) <= 64


@pytest.mark.parametrize("hosts", ["shop.example", [], [7], ["shop.example:80"], 7])
def test_wrong_allowed_hosts_are_rejected(hosts: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        HTTPPortal(allowed_hosts=hosts)
    assert caught.value.path == "http.allowed_hosts"
