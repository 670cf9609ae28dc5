"""Transport: bounds, signs of life, and the closing handshake, seen by a client that sends what it likes."""

from __future__ import annotations

from time import monotonic

import pytest

from portal.serving import ServingConfig
from portal.websocket.frames import Close, Ping, Pong, TextMessage
from portal.websocket.server.settings import WebSocketConfig
from portal.websocket.topics.topic import Topic
from tests.support.waiting import eventually
from tests.support.websocket_listener import WebSocketServer


def size(text: str) -> int:
    return len(text)


def blob(length: int) -> str:
    return "x" * length


def config(**changes: object) -> WebSocketConfig:
    return WebSocketConfig(deflate=None, **changes)  # type: ignore[arg-type]


def test_a_ping_is_responded_to_between_messages() -> None:
    with WebSocketServer(size) as server, server.connect() as client:
        client.sock.sendall(client.frames.ping(b"abc"))
        assert client.event() == Pong(b"abc")
        assert client.call("size", {"text": "abc"}) == 3


def test_the_closing_handshake_of_a_client() -> None:
    with WebSocketServer(size) as server, server.connect() as client:
        client.sock.sendall(client.frames.close(1000, "bye"))
        assert client.event() == Close(1000, "")
        assert client.event() == Close(1006, "")  # the server ends the connection first
        client.sock.close()
        eventually(lambda: len(server.connections) == 0)


def test_a_close_without_a_code_is_responded_to_in_kind() -> None:
    with WebSocketServer(size) as server, server.connect() as client:
        client.sock.sendall(client.frames.close(1005))
        assert client.event() == Close(1005, "")


def test_a_client_that_does_not_respond_to_a_close_is_left() -> None:
    with WebSocketServer(size, config=config(close_timeout=0.05)) as server, server.connect() as client:
        server.only().close(4403, "go")
        assert client.event() == Close(4403, "go")
        started = monotonic()
        assert client.event() == Close(1006, "")
        assert monotonic() - started < 5.0
        client.sock.close()
        eventually(lambda: len(server.connections) == 0)


@pytest.mark.parametrize(
    ("name", "payload", "code"),
    [
        ("an unmasked frame", b"\x81\x05Hello", 1002),
        ("a reserved bit", b"\xc1\x80abcd", 1002),
        ("an opcode that is not defined", b"\x83\x80abcd", 1002),
        ("a long ping", b"\x89\xfe\x00\x7eabcd" + b"x" * 126, 1002),
        ("invalid UTF-8", b"\x81\x81\x00\x00\x00\x00\xff", 1007),
        ("a binary message", b"\x82\x81\x00\x00\x00\x00x", 1003),
        ("a message above the limit", b"\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00abcd", 1009),
        ("a close code that is never sent", b"\x88\x82\x00\x00\x00\x00\x03\xed", 1002),
    ],
)
def test_what_breaks_the_protocol_closes_the_connection(name: str, payload: bytes, code: int) -> None:
    with WebSocketServer(size) as server, server.connect() as client:
        client.sock.sendall(payload)
        found, reason = client.closed()
        assert found == code, name
        assert reason
        client.sock.close()
        eventually(lambda: len(server.connections) == 0)


def test_messages_a_second_are_limited() -> None:
    with WebSocketServer(size, config=config(messages_per_second=20)) as server, server.connect() as client:
        client.sock.sendall(client.frames.ping() * 15)
        assert client.call("size", {"text": "a"}) == 1
        client.sock.sendall(client.frames.ping() * 200)
        assert client.closed() == (4429, "more than 20 messages a second")


def test_a_client_that_responds_to_pings_stays() -> None:
    with (
        WebSocketServer(size, config=config(ping_interval=0.05, ping_timeout=60.0)) as server,
        server.connect() as client,
    ):
        for _ in range(3):  # there is no second ping without a response to the first
            event = client.event()
            assert isinstance(event, Ping)
            client.sock.sendall(client.frames.pong(event.payload))
        assert server.connections.stats()["dead"] == 0


def test_a_dead_client_is_dropped_and_its_subscriptions_are_released() -> None:
    topic = Topic("news")
    with (
        WebSocketServer(size, topics=[topic], config=config(ping_interval=0.05, ping_timeout=0.05)) as server,
        server.connect() as client,
    ):
        client.request("rpc.subscribe", {"topic": "news"})
        while not isinstance(event := client.event(), Close):
            pass  # the response and a ping, in either order
        assert event == Close(1006, "")
        eventually(lambda: server.connections.stats()["dead"] == 1)
        eventually(lambda: topic.stats()["subscribers"] == 0)
        assert len(server.connections) == 0


def test_an_idle_connection_is_closed() -> None:
    with WebSocketServer(size, config=config(idle_timeout=0.05)) as server, server.connect() as client:
        assert client.closed() == (4408, "the connection was idle for 0.05 s")


def test_a_client_that_does_not_read_its_responses_is_read_no_more() -> None:
    """Its requests wait with the kernel, and nothing is lost."""
    with (
        WebSocketServer(blob, config=config(max_queued=100_000, max_calls=4)) as server,
        server.connect(receive_buffer=4096) as client,
    ):
        number = 400
        client.send(*({"jsonrpc": "2.0", "method": "blob", "params": [2_000_000], "id": index} for index in range(4)))
        connection = server.only()
        eventually(lambda: connection.describe()["queued"] > 100_000)
        pings = client.frames.ping() * number
        client.sock.sendall(pings)
        eventually(lambda: connection._transport.paused)
        kinds = [type(client.event()) for _ in range(4 + number)]
        assert (kinds.count(TextMessage), kinds.count(Pong)) == (4, number)
        assert client.call("blob", {"length": 1}) == "x"


def test_incomplete_messages_count_for_the_input_of_the_listener() -> None:
    serving = ServingConfig(max_input=100_000)
    with (
        WebSocketServer(size, serving=serving) as server,
        server.connect() as heavy,
        server.connect() as light,
    ):
        heavy.sock.sendall(heavy.frames.text("x" * 90_000)[:-1])
        eventually(lambda: server.listener.stats()["input_buffered"] > 80_000)
        light.sock.sendall(light.frames.text("y" * 50_000)[:-1])
        code, reason = heavy.closed()
        assert (code, reason) == (1013, "the server keeps too much of unfinished messages")
        light.sock.sendall(light.frames.ping(b"alive"))
