"""Request and Response: what an application sees without a listener."""

from __future__ import annotations

from portal import Identity
from portal.http11.request_head import parse_request_head
from portal.serving import Request, Response


class Secure:
    secure = True
    identity = Identity("ann")
    known_identity = Identity("bob")

    def on_hangup(self, callback: object) -> None:
        raise NotImplementedError

    def on_reset(self, callback: object, *, runs: bool = True) -> None:
        raise NotImplementedError


def request(client: Secure | None = None) -> Request:
    return Request(parse_request_head(b"GET /a%20b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"), b"", client, "192.0.2.1")


def test_a_request_has_the_parts_of_its_head() -> None:
    one = request()
    assert (one.method, one.path, one.query, one.headers["host"]) == ("GET", "/a%20b", "x=1", "h")


def test_a_request_without_a_connection_is_plain_and_anonymous() -> None:
    one = request()
    assert (one.secure, one.tls_identity, one.known_identity, one.share()) == (False, None, None, None)


def test_a_request_asks_its_connection() -> None:
    one = request(Secure())
    assert (one.secure, one.tls_identity, one.known_identity) == (True, Identity("ann"), Identity("bob"))


def test_the_peer_behind_a_proxy_replaces_the_address() -> None:
    one = request()
    one.resolve_peer("203.0.113.9")
    assert one.peer == "203.0.113.9"


def test_adding_a_header_leaves_the_list_of_the_app_alone() -> None:
    headers = [("A", "1")]
    response = Response(200, headers)
    response.add_header("B", "2")
    assert (headers, response.headers) == ([("A", "1")], [("A", "1"), ("B", "2")])
