"""What a client sees when its server is dead, dies, hangs or lies. Real sockets; peers that misbehave on purpose."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from portal import (
    CallTimeout,
    Consumer,
    HTTPPortal,
    LocalPortal,
    OverloadedError,
    ProtocolError,
    RegistryError,
    TransportError,
    ValidationError,
    function,
)
from portal.errors import AuthenticationError, AuthorizationError, PortalError, RateLimitError
from portal.http import Compression
from portal.http.client.client import HTTPClient
from portal.network.problem import PROBLEM, error_of
from portal.serving import Listener, Request, Response, ServingConfig
from tests.support.ports import free_port

WAIT = 20.0
SCHEMA = (
    b'{"name":"f","version":"1","input":{"type":"object","properties":{"n":{"type":"integer"}},'
    b'"additionalProperties":false},"output":{},"idempotent":%s,"streaming":%s}'
)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Peer:
    """A server that answers GET with a schema and each POST with the next of `answers`, raw.

    An answer is bytes (sent, and the connection kept), None (the connection is closed) or a callable of the socket.
    """

    def __init__(self, *responses: Any, idempotent: bool = False, streaming: bool = False) -> None:
        self.responses = list(responses)
        self.posts = 0
        flags = (b"true" if idempotent else b"false", b"true" if streaming else b"false")
        self.schema = ok(SCHEMA % flags)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listening.getsockname()[1]}/api/f"
        self.done = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    piece = sock.recv(65536)
                    if not piece:
                        return
                    buffer += piece
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    sock.sendall(self.schema)
                    continue
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                while len(buffer) < length:
                    buffer += sock.recv(65536)
                buffer = buffer[length:]
                self.posts += 1
                response = self.responses.pop(0)
                if response is None:
                    return
                if callable(response):
                    response(sock)
                    return
                sock.sendall(response)

    def close(self) -> None:
        self.done.set()
        self.listening.close()


@contextmanager
def peer(*responses: Any, **flags: Any) -> Iterator[tuple[Peer, Consumer]]:
    server, consumer = Peer(*responses, **flags), Consumer()
    try:
        yield server, consumer
    finally:
        consumer.close()
        server.close()


def test_a_server_that_is_not_running_is_a_transport_error() -> None:
    with Consumer() as consumer, pytest.raises(TransportError, match="is the server running") as caught:
        consumer.call_at(f"http://127.0.0.1:{free_port()}/api/f", {}, timeout=WAIT)
    assert not caught.value.may_have_executed
    assert caught.value.retryable
    assert isinstance(caught.value, ConnectionError)


def test_an_unknown_host_is_a_transport_error() -> None:
    with Consumer() as consumer, pytest.raises(TransportError) as caught:
        consumer.call_at("http://no-such-host.invalid/api/f", {}, timeout=WAIT)
    assert not caught.value.may_have_executed


def test_a_connection_closed_during_the_call_is_a_transport_error() -> None:
    with peer(None) as (server, consumer):
        with pytest.raises(TransportError, match="may have been executed") as caught:
            consumer.call_at(server.address, {"n": 1})
        assert caught.value.may_have_executed
        assert not caught.value.retryable
        assert server.posts == 1  # it was not sent again


def test_an_idempotent_call_is_sent_again_once() -> None:
    with peer(None, ok(b"7"), idempotent=True) as (server, consumer):
        assert consumer.call_at(server.address, {"n": 1}) == 7
        assert server.posts == 2
    with peer(None, None, idempotent=True) as (server, consumer):
        with pytest.raises(TransportError):
            consumer.call_at(server.address, {"n": 1})
        assert server.posts == 2


def test_a_server_that_never_responds_is_a_call_timeout() -> None:
    with peer(lambda sock: server.done.wait(WAIT)) as (server, consumer):
        with pytest.raises(CallTimeout) as caught:
            consumer.call_at(server.address, {"n": 1}, timeout=0.1)
        assert isinstance(caught.value, TimeoutError)
        assert server.posts == 1


def test_a_slow_response_is_a_call_timeout() -> None:
    def dribble(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n1")
        server.done.wait(WAIT)

    with peer(dribble) as (server, consumer), pytest.raises(CallTimeout):
        consumer.call_at(server.address, {"n": 1}, timeout=0.1)


LONG = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (ok(b"{"), ProtocolError),
        (ok(b"NaN"), ProtocolError),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", RegistryError),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\noops!", TransportError),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n", OverloadedError),
        (b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n", ProtocolError),
        (lambda sock: sock.sendall(LONG + b"1"), TransportError),
    ],
)
def test_a_malformed_response_is_an_error(response: Any, error: type[PortalError]) -> None:
    with peer(response) as (server, consumer):
        with pytest.raises(error) as caught:
            consumer.call_at(server.address, {"n": 1}, timeout=WAIT)
        assert type(caught.value) is error
        if error is OverloadedError:
            assert caught.value.retry_after == 3.0  # type: ignore[attr-defined]


def test_a_response_past_the_limit_is_an_error() -> None:
    with peer(ok(b'"' + b"x" * 5000 + b'"')) as (server, _):
        portal = HTTPPortal(http=HTTPClient(max_response_size=1000))
        with Consumer([portal]) as consumer, pytest.raises(ProtocolError, match="at most 1000 bytes"):
            consumer.call_at(server.address, {"n": 1}, timeout=WAIT)
        portal.close()


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def test_a_stream_that_is_cut_is_a_transport_error() -> None:
    with peer(lambda sock: sock.sendall(EVENTS + b"data: 1\n\n"), streaming=True) as (server, consumer):
        stream = consumer.stream_at(server.address, {"n": 1}, timeout=WAIT)
        assert next(stream) == 1
        with pytest.raises(TransportError, match="ended before it was complete"):
            next(stream)


def test_a_stream_that_a_server_does_not_continue_is_a_call_timeout_that_says_so() -> None:
    def stall(sock: socket.socket) -> None:
        sock.sendall(EVENTS + b"data: 1\n\ndata: 2\n\n")
        server.done.wait(WAIT)

    with peer(stall, streaming=True) as (server, consumer):
        stream = consumer.stream_at(server.address, {"n": 1}, timeout=0.5)
        assert [next(stream), next(stream)] == [1, 2]
        with pytest.raises(
            CallTimeout, match=r"^the stream of http://.* did not end within 0\.\d+ s, after 2 items; it may"
        ):
            next(stream)


def test_a_stream_that_pauses_for_longer_than_the_read_timeout_is_a_call_timeout_that_says_so() -> None:
    gate = threading.Event()

    def pausing() -> Iterator[int]:
        yield 1
        gate.wait(WAIT)

    with HTTPPortal() as portal, HTTPPortal(http=HTTPClient(read_timeout=0.2)) as caller:
        address = portal.apply(pausing)
        with Consumer([caller]) as consumer:
            stream = consumer.stream_at(address, timeout=WAIT)
            assert next(stream) == 1
            with pytest.raises(CallTimeout, match="did not continue in time, after 1 item; it may"):
                next(stream)
        gate.set()


def test_bad_input_is_rejected_before_it_is_sent() -> None:
    with peer() as (server, consumer):
        with pytest.raises(ValidationError):
            consumer.call_at(server.address, {"n": "x"})
        assert server.posts == 0


def test_an_address_without_a_function_is_an_error() -> None:
    with peer() as (server, consumer):
        server.schema = ok(b'{"hello": 1}')
        with pytest.raises(RegistryError):
            consumer.resolve(server.address)
        with pytest.raises(RegistryError):
            consumer.list_at(server.address)
        portal = HTTPPortal()
        with pytest.raises(RegistryError):
            portal.resolve_service(server.address)
        portal.close()


def test_a_server_killed_before_and_after_a_call() -> None:
    """Each call runs in a server of its own, which counts on its standard output; what the client says must agree."""
    code = (
        "import sys\nfrom portal import HTTPPortal\nportal = HTTPPortal()\n"
        "def work() -> int:\n    print('called', flush=True)\n    return 7\n"
        "address = portal.apply(work)\nportal.start()\nprint(address, flush=True)\nsys.stdin.read()\n"
    )
    for calls in (0, 1):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with Consumer() as consumer:
            consumer.resolve(address)  # a connection is kept from here on
            for _ in range(calls):
                assert consumer.call_at(address, {}, timeout=WAIT) == 7
            os.kill(process.pid, signal.SIGKILL)
            process.wait(WAIT)
            with pytest.raises(TransportError) as caught:
                consumer.call_at(address, {}, timeout=WAIT)
            assert not caught.value.may_have_executed
        assert process.communicate()[0].split() == ["called"] * calls


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = free_port()
    with peer(ok(b"7")) as (server, consumer):
        port = int(server.address.split(":")[2].partition("/")[0])
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", number)) for number in (dead, dead, port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
        assert consumer.call_at("http://several.example/api/f", {"n": 1}, timeout=WAIT) == 7


def test_a_server_killed_in_the_middle_of_a_call() -> None:
    code = (
        "import threading, sys\nfrom portal import HTTPPortal\nportal = HTTPPortal()\n"
        "def hang() -> None:\n    print('called', flush=True)\n    threading.Event().wait(60)\n"
        "address = portal.apply(hang)\nportal.start()\nprint(address, flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with Consumer() as consumer:
        future = consumer.submit_at(address, {}, timeout=WAIT)
        assert process.stdout.readline().strip() == "called"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with pytest.raises(TransportError) as caught:
            future.result(WAIT)
        assert caught.value.may_have_executed
        with pytest.raises(TransportError) as caught:
            consumer.call_at(address, {}, timeout=WAIT)
        assert not caught.value.may_have_executed


def test_a_port_in_use_is_reported() -> None:
    with HTTPPortal() as first, pytest.raises(TransportError, match="in use"):
        HTTPPortal(port=first.port).start()


def test_listening_on_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(TransportError, match="cannot be used for listening"):
        Listener("192.0.2.1").start()


def test_a_stop_lets_running_calls_finish() -> None:
    entered, gate = threading.Event(), threading.Event()

    def hold() -> int:
        entered.set()
        gate.wait(WAIT)
        return 5

    portal = HTTPPortal()
    address = portal.apply(hold)
    portal.start()
    with Consumer() as consumer:
        future = consumer.submit_at(address, {})
        assert entered.wait(WAIT)
        stopper = threading.Thread(target=portal.close)
        stopper.start()
        gate.set()
        assert future.result(WAIT) == 5
        stopper.join(WAIT)
        assert not stopper.is_alive()
        with pytest.raises(TransportError):
            consumer.call_at(address, {})
    portal.close()


def test_a_stop_does_not_wait_for_hanging_calls() -> None:
    entered, gate = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        gate.wait(WAIT)

    portal = HTTPPortal(config=ServingConfig(grace=0.05))
    address = portal.apply(hold)
    portal.start()
    with Consumer() as consumer:
        future = consumer.submit_at(address, {})
        assert entered.wait(WAIT)
        portal.listener.stop()
        with pytest.raises(TransportError) as caught:
            future.result(WAIT)
        assert caught.value.may_have_executed
    gate.set()
    portal.close()


def test_a_silent_server_is_a_timeout_after_the_read_timeout() -> None:
    gate = threading.Event()

    def hang() -> None:
        gate.wait(WAIT)

    with HTTPPortal() as portal, HTTPPortal(http=HTTPClient(read_timeout=0.2)) as caller:
        address = portal.apply(hang)
        with Consumer([caller]) as consumer:
            begun = monotonic()
            with pytest.raises(CallTimeout):
                consumer.call_at(address, timeout=WAIT)
            assert monotonic() - begun < WAIT / 2
        gate.set()


@pytest.mark.parametrize("timeout", [0.02, 0.3, 0.6, 1.2])
def test_timeouts_of_every_size_are_met(timeout: float) -> None:
    gate = threading.Event()

    def hang() -> None:
        gate.wait(WAIT)

    with socket.create_server(("127.0.0.1", 0)) as silent, HTTPPortal() as portal, Consumer() as consumer:
        for address in (f"http://127.0.0.1:{silent.getsockname()[1]}/api/f", str(portal.apply(hang))):
            begun = monotonic()
            with pytest.raises(CallTimeout):
                consumer.call_at(address, {}, timeout=timeout)
            assert monotonic() - begun < WAIT / 2
        gate.set()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (403, AuthorizationError), (410, RegistryError), (422, ValidationError),
     (429, RateLimitError), (408, CallTimeout), (504, CallTimeout), (500, TransportError), (400, ProtocolError)],
)  # fmt: skip
def test_statuses_without_a_problem_document(status: int, kind: type[PortalError]) -> None:
    for body, media in ((b"<html>", "text/html"), (b"{", PROBLEM), (b"{}", PROBLEM)):
        assert type(error_of(status, media, body, {})) is kind


@pytest.mark.parametrize(
    "key",
    [
        "order\r\nX-API-Key: stolen",
        "order\r\nContent-Length: 0\r\n\r\nPOST /api/refund HTTP/1.1",
        "a b",
        "\u20ac",
        "",
        "k" * 256,
        7,
    ],
)
def test_an_idempotency_key_that_no_header_can_carry_is_not_sent(key: Any) -> None:
    seen: list[dict[str, str]] = []

    def note(request: Request, call_next: Any) -> Response:
        seen.append(dict(request.headers))
        response: Response = call_next(request)
        return response

    with HTTPPortal(http_middleware=[note]) as portal, Consumer() as consumer:
        address = portal.apply(_double)
        assert consumer.call_at(address, {"n": 1}) == 2
        seen.clear()
        with pytest.raises(ProtocolError, match="1 to 255 visible ASCII") as caught:
            consumer.call_at(address, {"n": 1}, idempotency_key=key)
        assert caught.value.status == 400
        assert seen == []


def _double(n: int) -> int:
    return 2 * n


def _packed() -> HTTPPortal:
    return HTTPPortal(http_middleware=[Compression(minimum_size=1)])


@pytest.mark.parametrize("make", [LocalPortal, HTTPPortal, _packed], ids=["local", "http", "compressed"])
def test_a_stream_that_is_past_its_own_timeout_is_a_call_timeout_at_every_address(make: Any) -> None:
    leave = threading.Event()

    @function(timeout=0.1)
    def stuck() -> Iterator[int]:
        yield 1
        leave.wait(WAIT)
        yield 2

    with make() as portal, Consumer() as consumer:
        items = consumer.stream_at(portal.apply(stuck), timeout=WAIT)
        try:
            assert next(items) == 1
            with pytest.raises(CallTimeout):
                next(items)
        finally:
            leave.set()
