"""What hostile clients have done to WebSocket servers, by public reports.

Each attacks a portal that serves another client. That one has its responses, and nothing of the attacker is left.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from portal import WebSocketPortal
from portal.serving import ServingConfig
from portal.websocket import WebSocketConfig
from portal.websocket.deflate import Deflate
from portal.websocket.frames import Close, Ping, TextMessage
from tests.support.waiting import eventually
from tests.support.websocket_listener import Client

MIB = 1024 * 1024
WAIT = 60.0
TEXT, BINARY, CLOSE, PING = 0x81, 0x82, 0x88, 0x89
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def add(a: float, b: float) -> float:
    return a + b


def count(to: int) -> Iterator[int]:
    yield from range(to)


def blob(size: int) -> str:
    return "x" * size


@pytest.fixture
def portal() -> Iterator[WebSocketPortal]:
    config = WebSocketConfig(max_all_sessions=MIB, max_lost_sessions=20, max_session=256 * 1024)
    with WebSocketPortal(config=config, serving=ServingConfig(head_timeout=2.0)) as made:
        for one in (add, count, blob):
            made.apply(one)
        made.topic("news", publish_scopes=())
        yield made


@pytest.fixture
def other(portal: WebSocketPortal) -> Iterator[Client]:
    """Another client. After the attack it has its response, and the attacker has no connection any more."""
    with client_of(portal) as made:
        yield made
        assert made.call("add", {"a": 1, "b": 2}) == 3
        eventually(lambda: len(portal.list_clients()) == 1, WAIT)


def client_of(portal: WebSocketPortal, **options: Any) -> Client:
    made = Client(portal.base.port or 0, **options)
    made.sock.settimeout(WAIT)
    return made


def frame(first: int, payload: bytes, key: bytes | None = b"\x01\x02\x03\x04") -> bytes:
    size, mask = len(payload), 0 if key is None else 0x80
    if size < 126:
        head = bytes((first, mask | size))
    elif size < 65536:
        head = bytes((first, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + size.to_bytes(8, "big")
    if key is None:
        return head + payload
    return head + key + bytes(one ^ key[index % 4] for index, one in enumerate(payload))


def end_of(client: Client) -> int:
    """Return the code of the close frame that the server sends."""
    while not isinstance(event := client.event(), Close):
        assert isinstance(event, TextMessage | Ping), event
    return event.code


# frames


@pytest.mark.parametrize("size", [0, 1])
def test_a_message_of_tiny_fragments_that_never_ends(portal: WebSocketPortal, other: Client, size: int) -> None:
    """Empty fragments count as well."""
    with client_of(portal) as attacker:
        attacker.sock.sendall(frame(0x01, b"x") + frame(0x00, b"x" * size) * (16 * 1024 - 1))
        assert other.call("add", {"a": 2, "b": 3}) == 5
        attacker.sock.sendall(frame(0x00, b""))
        assert end_of(attacker) == 1008


def test_a_message_that_comes_byte_by_byte(portal: WebSocketPortal, other: Client) -> None:
    with client_of(portal) as attacker:
        for byte in frame(TEXT, b" " * 3000):
            attacker.sock.sendall(bytes((byte,)))
        assert attacker.receive()["error"]["code"] == -32700


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + b"keys", 1009, id="a length of 2**63 - 1"),
        pytest.param(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1002, id="a negative length"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="a ping of 126 bytes"),
        pytest.param(frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002, id="a close of 126 bytes"),
        pytest.param(frame(0x09, b""), 1002, id="a ping in fragments"),
        pytest.param(frame(TEXT, b"{}", key=None), 1002, id="no mask"),
        pytest.param(frame(0xC1, b"{}"), 1002, id="compressed, which was not agreed on"),
        pytest.param(frame(BINARY, b"{}"), 1003, id="binary"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="a surrogate in UTF-8"),
        pytest.param(frame(CLOSE, b"\x03\xed"), 1002, id="the code 1005 in a close"),
        pytest.param(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", 1002, id="an HTTP request"),
    ],
)
def test_frames_that_break_the_protocol(portal: WebSocketPortal, other: Client, data: bytes, code: int) -> None:
    with client_of(portal) as attacker:
        attacker.sock.sendall(data)
        assert end_of(attacker) == code


# compression


def test_a_compressed_message_that_becomes_large(portal: WebSocketPortal, other: Client) -> None:
    with client_of(portal, deflate=Deflate()) as attacker:
        bomb = attacker.frames.text("0" * 64 * MIB)
        assert len(bomb) < 80_000
        attacker.sock.sendall(bomb)
        assert end_of(attacker) == 1009


def test_many_compressed_messages_up_to_the_bound(portal: WebSocketPortal, other: Client) -> None:
    with client_of(portal, deflate=Deflate()) as attacker:
        request = {"jsonrpc": "2.0", "method": "add", "params": {"a": "0" * (MIB - 200)}}
        attacker.send(*({**request, "id": number} for number in range(30)))
        assert other.call("add", {"a": 2, "b": 3}) == 5
        for _ in range(30):
            assert attacker.receive()["error"]["code"] == -32602


def test_blocks_of_deflate_that_are_empty(portal: WebSocketPortal, other: Client) -> None:
    with client_of(portal, deflate=Deflate()) as attacker:
        attacker.sock.sendall(frame(0xC1, b"\x00\x00\x00\xff\xff" * 100_000))
        assert attacker.receive()["error"]["code"] == -32700


# floods


def test_pings_whose_pongs_are_not_read(portal: WebSocketPortal, other: Client) -> None:
    """The server stops to read; what it keeps is bounded."""
    with client_of(portal, receive_buffer=4096) as attacker:
        flood = frame(PING, b"x" * 125) * 2000
        attacker.sock.settimeout(0.2)
        try:
            for _ in range(100):
                attacker.sock.sendall(flood)
        except OSError:
            pass  # it does not read, or has closed the connection for too many messages
        assert other.call("add", {"a": 2, "b": 3}) == 5
        assert all(one["queued"] < 2 * MIB for one in portal.list_clients())


def test_more_messages_than_a_client_may_send(portal: WebSocketPortal, other: Client) -> None:
    with client_of(portal) as attacker:
        attacker.sock.sendall(frame(0x8A, b"") * 200_000)  # pongs, which nobody has asked for
        assert end_of(attacker) == 4429


def test_a_flood_after_the_close(portal: WebSocketPortal, other: Client) -> None:
    with client_of(portal) as attacker:
        attacker.sock.sendall(frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"{}") * 10_000)
        assert end_of(attacker) == 1000


@pytest.mark.parametrize("kind", ["read", "never closed"])
def test_a_client_that_ends_only_its_own_side(portal: WebSocketPortal, other: Client, kind: str) -> None:
    """Half an open TCP connection would stay for ever (CLOSE_WAIT)."""
    with client_of(portal) as attacker:
        attacker.request("add", {"a": 1, "b": 2})
        attacker.sock.shutdown(socket.SHUT_WR)
        if kind == "read":
            while not isinstance(attacker.event(), Close):
                pass
        eventually(lambda: len(portal.list_clients()) == 1, WAIT)


# messages


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("[" + "1," * 500_000 + "1]", -32600, id="a batch of 500,001 numbers"),
        pytest.param("[" + "{}," * 90_000 + "{}]", -32600, id="a batch of 90,001 objects"),
        pytest.param("[" * 100_000, -32700, id="100,000 levels"),
        pytest.param('{"a":' * 90_000 + "1" + "}" * 90_000, -32700, id="90,000 objects in each other"),
        pytest.param("9" * 1_000_000, -32700, id="a number of a million digits"),
        pytest.param('{"jsonrpc":"2.0","method":"add","id":"\\ud800"}', -32600, id="half a character as id"),
        pytest.param('{"jsonrpc":"2.0","method":"\\udfff","id":1}', -32600, id="half a character as method"),
        pytest.param('{"jsonrpc":"2.0","method":"add","id":1e999}', -32600, id="infinity as id"),
        pytest.param('{"jsonrpc":"2.0","method":"add","id":{"a":[]}}', -32600, id="an object as id"),
        pytest.param(
            '{"jsonrpc":"2.0","method":"rpc.cancel","params":[[]],"id":1}', -32602, id="a list as id to cancel"
        ),
        pytest.param('{"jsonrpc":"2.0","method":"__class__","id":1}', -32601, id="an attribute as method"),
        pytest.param('{"jsonrpc":"2.0","method":"../add","id":1}', -32601, id="a path as method"),
    ],
)
def test_messages_that_are_hard_to_read(portal: WebSocketPortal, other: Client, text: str, code: int) -> None:
    with client_of(portal) as attacker:
        attacker.sock.sendall(attacker.frames.text(text))
        assert attacker.receive()["error"]["code"] == code
        assert attacker.call("add", {"a": 2, "b": 3}, id=7) == 5  # the connection goes on


@pytest.mark.parametrize(
    "name", ["\ud800", "a\x00b", "../news", "news\r\nX: y", "n" * 900_000, "", "__proto__", "news#2", "%6eews", "NEWS"]
)
def test_names_of_topics_that_do_not_exist(portal: WebSocketPortal, other: Client, name: str) -> None:
    with client_of(portal) as attacker:
        for method in ("rpc.subscribe", "rpc.publish"):
            error = attacker.error(method, {"topic": name, **({"data": 1} if method == "rpc.publish" else {})})
            assert error["code"] == -32601
            assert len(json.dumps(error)) < 1000


@pytest.mark.parametrize("position", [-1, 0, 10**300, 2**63])
def test_positions_that_no_topic_has_given(portal: WebSocketPortal, other: Client, position: int) -> None:
    with client_of(portal) as attacker:
        found = attacker.call("rpc.subscribe", {"topic": "news", "from": {"epoch": "\x00", "offset": position}})
        assert found["recovered"] is False


def test_events_with_half_a_character_reach_nobody(portal: WebSocketPortal, other: Client) -> None:
    other.call("rpc.subscribe", {"topic": "news"})
    with client_of(portal) as attacker:
        for more in ({"data": "\ud800"}, {"data": 1, "key": "\ud800"}, {"data": {"\ud800": 1}}):
            assert attacker.error("rpc.publish", {"topic": "news", **more})["code"] == -32602
        attacker.call("rpc.publish", {"topic": "news", "data": 1})
    assert other.receive()["params"]["data"] == 1


# what a client may hold


def test_subscriptions_beyond_the_bound(portal: WebSocketPortal, other: Client) -> None:
    with client_of(portal) as attacker:
        found = {attacker.call("rpc.subscribe", {"topic": "news"})["subscription"] for _ in range(100)}
        assert len(found) == 100
        assert attacker.error("rpc.subscribe", {"topic": "news"})["code"] == -32006
        assert portal.stats()["topics"]["news"]["subscribers"] == 100
    eventually(lambda: portal.stats()["topics"]["news"]["subscribers"] == 0, WAIT)


def test_parameters_of_subscriptions_that_are_large(portal: WebSocketPortal, other: Client) -> None:
    """They are kept as long as the subscription."""
    portal.topic("chosen", params=dict[str, str])
    with client_of(portal) as attacker:
        attacker.call("rpc.subscribe", {"topic": "chosen", "params": {"a": "x" * 60_000}})
        for _ in range(20):
            assert attacker.error("rpc.subscribe", {"topic": "chosen", "params": {"a": "x" * 60_000}})["code"] == -32006
        assert portal.stats()["subscriptions"]["open"] == 1


def test_streams_that_are_never_read(portal: WebSocketPortal, other: Client) -> None:
    """They wait for credit without a worker, and end with their connection."""
    with client_of(portal) as attacker:
        for number in range(256):
            attacker.request("count", {"to": 1000}, id=number, meta={"credit": 1})
            assert attacker.receive()["params"] == {"id": number, "data": 0}  # its place is taken, whoever is slow
        for number in range(256, 300):
            assert attacker.error("count", {"to": 1000}, id=number, meta={"credit": 0})["code"] == -32006
        assert attacker.error("add", {"a": 1, "b": 2}, id=1000)["code"] == -32006
        assert other.call("add", {"a": 2, "b": 3}) == 5


def test_a_flood_of_streams_that_are_never_read(portal: WebSocketPortal, other: Client) -> None:
    """Those that are too many get errors, and the others wait for credit."""
    with client_of(portal) as attacker:
        attacker.send(*(stream(number) for number in range(1000)))
        for _ in range(1000 - 256):
            response = attacker.receive()
            assert response["error"]["code"] == -32006, response
        assert other.call("add", {"a": 2, "b": 3}) == 5


def stream(number: int) -> dict[str, Any]:
    """Return the request of a stream whose client takes no item."""
    return {"jsonrpc": "2.0", "method": "count", "params": {"to": 1000}, "id": number, "meta": {"credit": 0}}


def test_tokens_of_sessions_cannot_be_guessed(portal: WebSocketPortal, other: Client) -> None:
    session = other.call("rpc.resume", {})["session"]
    assert len(session) >= 22  # 128 bits
    with client_of(portal) as attacker:
        for guess in (session[:-1], session + "A", session.swapcase(), "", "\x00", session[::-1]):
            found = attacker.call("rpc.resume", {"session": guess, "pending": [1, 2, 3]})
            assert found["resumed"] is False
            assert found["session"] != session


def test_lost_connections_take_no_session_of_another_client(portal: WebSocketPortal, other: Client) -> None:
    """Of one network they are one client here, so this asks how many are kept."""
    for _ in range(40):
        with client_of(portal) as attacker:
            attacker.call("rpc.resume", {})
            attacker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    eventually(lambda: portal.stats()["sessions"]["lost"] + portal.stats()["sessions"]["expired"] == 40, WAIT)
    assert portal.stats()["sessions"]["lost"] == 20


def test_responses_that_are_never_acknowledged(portal: WebSocketPortal, other: Client) -> None:
    """Each of many sessions keeps as much as it may; together they keep no more than the bound of all."""
    attackers = [client_of(portal) for _ in range(12)]
    for attacker in attackers:
        attacker.call("rpc.resume", {}, id=1)
        for number in range(2, 6):
            attacker.call("blob", {"size": 60_000}, id=number)
    found = portal.stats()["sessions"]
    assert found["bytes"] <= MIB
    assert found["trimmed"] > 0
    for attacker in attackers:
        attacker.sock.close()


# handshakes


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b'Sec-WebSocket-Extensions: a; b="' + b"\\c" * 14_000, 400, id="a string that does not end"),
        pytest.param(b"Sec-WebSocket-Protocol: b" + b" " * 28_000 + b"x", 400, id="a protocol with many spaces"),
        pytest.param(b"Sec-WebSocket-Extensions: " + b"," * 28_000, 101, id="a list of nothing"),
        pytest.param(
            b"Sec-WebSocket-Extensions: " + b"permessage-deflate; client_max_window_bits=99, " * 600 + b"x", 101,
            id="600 offers that are not valid",
        ),
        pytest.param(b"Sec-WebSocket-Extensions: constructor; __proto__", 101, id="names of attributes"),
        pytest.param(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", 400, id="two keys"),
        pytest.param(b"Sec-WebSocket-Version: 8", 426, id="two versions"),
        pytest.param(b"Content-Length: 5\r\n\r\nhello", 400, id="a body"),
        pytest.param(b"\r\n".join(b"x%d: y" % number for number in range(2000)), 431, id="2,000 headers"),
        pytest.param(b"Origin: http://evil.example", 403, id="a page of another site"),
        pytest.param(b"Origin: http://localhost.evil.example", 403, id="a site whose name begins alike"),
        pytest.param(b"Origin: null", 403, id="a page in a sandbox"),
    ],
)  # fmt: skip
def test_handshakes(portal: WebSocketPortal, other: Client, head: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", portal.base.port or 0), timeout=WAIT) as attacker:
        attacker.sendall(HANDSHAKE + head + b"\r\n\r\n")
        assert attacker.recv(65536).startswith(b"HTTP/1.1 %d " % status)


def test_handshakes_that_never_end(portal: WebSocketPortal, other: Client) -> None:
    attackers = [socket.create_connection(("127.0.0.1", portal.base.port or 0), timeout=WAIT) for _ in range(20)]
    for attacker in attackers:
        attacker.sendall(HANDSHAKE)
    assert other.call("add", {"a": 2, "b": 3}) == 5
    for attacker in attackers:
        with attacker:
            assert attacker.recv(65536).startswith(b"HTTP/1.1 408 ")
