"""The opening handshake of both sides, by the rules of RFC 6455 section 4."""

from __future__ import annotations

import base64

import pytest

from portal.errors import ProtocolError
from portal.http11.request_head import parse_request_head
from portal.http11.response_head import encode_head
from portal.websocket.deflate import Deflate
from portal.websocket.handshake import Accepted, Agreed, ClientHandshake, Declined, Rejected, respond

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HEADERS = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def ask(method: str = "GET", version: str = "1.1", *, drop: str = "", **changes: str) -> Accepted | Rejected:
    rows = HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in rows.items() if name != drop)
    head = parse_request_head(f"{method} /chat HTTP/{version}\r\n{lines}\r\n".encode("latin-1"))
    return respond(head, subprotocols=("jsonrpc-2.0", "other"), deflate=Deflate())


def test_the_example_of_the_rfc() -> None:
    assert ask() == Accepted(
        [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", ACCEPT)], None, None
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": "WebSocket"},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "UPGRADE"},
        {"Upgrade": "h2c, websocket"},
        {"Content-Length": "0"},
        {"Sec_WebSocket_Extensions": "x-unknown; a=1, permessage-deflate; unknown=1"},
        {"Sec_WebSocket_Protocol": "never-heard-of"},
    ],
)
def test_requests_that_are_accepted(changes: dict[str, str]) -> None:
    found = ask(**{name.replace("-", "_"): value for name, value in changes.items()})
    assert isinstance(found, Accepted)
    assert (found.subprotocol, found.deflate) == (None, None)


@pytest.mark.parametrize(
    ("method", "version", "drop", "changes", "status"),
    [
        ("POST", "1.1", "", {"Content_Length": "0"}, 405),
        ("HEAD", "1.1", "", {}, 405),
        ("GET", "1.0", "", {}, 426),
        ("GET", "1.1", "Upgrade", {}, 426),
        ("GET", "1.1", "Connection", {}, 426),
        ("GET", "1.1", "", {"Upgrade": "websockets"}, 426),
        ("GET", "1.1", "", {"Connection": "keep-alive"}, 426),
        ("GET", "1.1", "Sec-WebSocket-Version", {}, 426),
        ("GET", "1.1", "", {"Sec_WebSocket_Version": "8"}, 426),
        ("GET", "1.1", "", {"Sec_WebSocket_Version": "13, 8"}, 426),
        ("GET", "1.1", "Sec-WebSocket-Key", {}, 400),
        ("GET", "1.1", "", {"Sec_WebSocket_Key": ""}, 400),
        ("GET", "1.1", "", {"Sec_WebSocket_Key": "short"}, 400),
        ("GET", "1.1", "", {"Sec_WebSocket_Key": KEY[:-1] + "!"}, 400),
        ("GET", "1.1", "", {"Sec_WebSocket_Key": KEY + ", " + KEY}, 400),
        ("GET", "1.1", "", {"Sec_WebSocket_Key": base64.b64encode(bytes(17)).decode()}, 400),
        ("GET", "1.1", "", {"Sec_WebSocket_Key": "\xe9" * 24}, 400),
        ("GET", "1.1", "", {"Content_Length": "5"}, 400),
        ("GET", "1.1", "", {"Transfer_Encoding": "chunked"}, 400),
        ("GET", "1.1", "", {"Sec_WebSocket_Protocol": "a b"}, 400),
        ("GET", "1.1", "", {"Sec_WebSocket_Extensions": "permessage-deflate;;"}, 400),
    ],
)
def test_requests_that_are_rejected(method: str, version: str, drop: str, changes: dict[str, str], status: int) -> None:
    found = ask(method, version, drop=drop, **changes)
    assert isinstance(found, Rejected)
    assert found.status == status
    assert ("Upgrade", "websocket") in found.headers or status != 426


def test_an_unknown_version_is_told_the_known_one() -> None:
    found = ask(Sec_WebSocket_Version="99")
    assert isinstance(found, Rejected)
    assert ("Sec-WebSocket-Version", "13") in found.headers


def test_the_first_known_subprotocol_of_the_client_is_agreed_on() -> None:
    found = ask(Sec_WebSocket_Protocol="x, other, jsonrpc-2.0")
    assert isinstance(found, Accepted)
    assert found.subprotocol == "other"
    assert ("Sec-WebSocket-Protocol", "other") in found.headers


# the client


def client(**options: object) -> ClientHandshake:
    return ClientHandshake("h:8080", "/ws", key=base64.b64decode(KEY), **options)  # type: ignore[arg-type]


def response(status: int = 101, **changes: str | None) -> bytes:
    rows: dict[str, str | None] = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Accept": ACCEPT}
    rows |= {name.replace("_", "-"): value for name, value in changes.items()}
    headers = [(name, value) for name, value in rows.items() if value is not None]
    return encode_head(status, headers, keep_alive=True, now=0)[:-4]


def test_a_client_and_a_server_agree() -> None:
    one = ClientHandshake(
        "h:8080",
        "/ws?token=1",
        headers=[("Origin", "http://h:8080"), ("Authorization", "Bearer x")],
        subprotocols=["jsonrpc-2.0"],
        deflate=Deflate(),
    )
    head = parse_request_head(one.request())
    assert (head.path, head.query, head.headers["host"], head.upgrade) == ("/ws", "token=1", "h:8080", "websocket")
    assert (head.headers["origin"], head.headers["authorization"]) == ("http://h:8080", "Bearer x")
    accepted = respond(head, subprotocols=("jsonrpc-2.0",), deflate=Deflate())
    assert isinstance(accepted, Accepted)
    answer = encode_head(101, accepted.headers, keep_alive=True, now=0)[:-4]
    agreed = one.read_response(answer)
    assert isinstance(agreed, Agreed)
    assert agreed.subprotocol == accepted.subprotocol == "jsonrpc-2.0"
    assert agreed.deflate is not None
    assert accepted.deflate is not None
    assert (agreed.deflate.send_bits, agreed.deflate.receive_bits) == (12, 12)
    assert (accepted.deflate.send_bits, accepted.deflate.receive_bits) == (12, 12)


def test_keys_are_random() -> None:
    assert len({ClientHandshake("h", "/").request() for _ in range(8)}) == 8


def test_a_plain_acceptance() -> None:
    assert client().read_response(response()) == Agreed(None, None)
    assert client().read_response(response(Connection="keep-alive, upgrade", Upgrade="WebSocket")) == Agreed(None, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Upgrade": None}, "must upgrade to websocket"),
        ({"Upgrade": "h2c"}, "must upgrade to websocket"),
        ({"Connection": None}, "Connection: Upgrade"),
        ({"Sec_WebSocket_Accept": None}, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": ACCEPT.lower()}, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Protocol": "other"}, "not offered"),
        ({"Sec_WebSocket_Extensions": "permessage-deflate"}, "not offered"),
        ({"Sec_WebSocket_Extensions": "x; ;"}, "a list of names"),
    ],
)
def test_acceptances_that_a_client_does_not_believe(changes: dict[str, str | None], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        client(subprotocols=["mine"]).read_response(response(**changes))


def test_another_status_is_told_with_its_headers() -> None:
    found = client().read_response(response(503, Retry_After="2"))
    assert isinstance(found, Declined)
    assert (found.status, found.headers["retry-after"]) == (503, "2")


def test_a_response_of_another_protocol_is_rejected() -> None:
    with pytest.raises(ProtocolError, match=r"not HTTP/1\.1"):
        client().read_response(b"SSH-2.0-OpenSSH")


@pytest.mark.parametrize("value", ["a\r\nX: 1", "a\nb", "a\x00"])
def test_a_header_cannot_add_lines(value: str) -> None:
    with pytest.raises(ProtocolError, match="control characters"):
        client(headers=[("X-A", value)]).request()
