from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import requests

from portal import AddressError, CallTimeout, ConfigError, Consumer, HTTPPortal, RegistryError, TransportError
from portal.http.client.client import HTTPClient
from portal.serving import Listener, Request, Response
from tests.support.races import fast_switches
from tests.support.thread_list import new_threads

WAIT = 10.0


def add(a: float, b: float) -> float:
    return a + b


def test_two_portals_share_a_listener() -> None:
    listener = Listener()
    first, second = HTTPPortal(listener=listener, base_path="/one"), HTTPPortal(listener=listener, base_path="/two")
    with Consumer() as consumer:
        at = [first.apply(add), second.apply(add)]
        first.start()
        second.start()
        assert [consumer.call_at(one, {"a": 1, "b": 2}) for one in at] == [3.0, 3.0]
        assert at[0].port == at[1].port == first.port
        with pytest.raises(ConfigError):
            HTTPPortal(listener=listener, base_path="/one").start()
        first.close()
        with pytest.raises(RegistryError):
            consumer.call_at(at[0], {"a": 1, "b": 2})
        assert consumer.call_at(at[1], {"a": 1, "b": 2}) == 3.0
        second.close()
    assert not listener.running


def test_an_empty_base_path() -> None:
    with HTTPPortal(base_path="") as portal, Consumer() as consumer:
        address = portal.apply(add)
        assert address.segments[0] == "add"
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0


@pytest.mark.parametrize("path", ["api", "/api/"])
def test_a_wrong_base_path_is_rejected(path: str) -> None:
    with pytest.raises(ConfigError):
        HTTPPortal(base_path=path)


@pytest.mark.parametrize("port", [-1, 70_000, "80", True])
def test_a_wrong_port_is_rejected(port: Any) -> None:
    with pytest.raises(ConfigError):
        HTTPPortal(port=port)


def test_a_constructor_starts_nothing() -> None:
    threads = threading.enumerate()
    portal = HTTPPortal()
    assert new_threads(threads) == []
    assert portal.stats()["listener"] == {"running": False, "ready": False}
    portal.close()
    with pytest.raises(RegistryError, match="closed"):
        portal.apply(add)


def test_a_name_that_is_not_ascii_is_encoded() -> None:
    with HTTPPortal() as portal, Consumer() as consumer:
        from portal import function

        address = portal.apply(function(name="größe-1.x")(add))
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        assert consumer.call_at(str(address), {"a": 1, "b": 2}) == 3.0


def test_addresses_of_other_portals_are_rejected() -> None:
    with HTTPPortal() as portal:
        portal.apply(add)
        with pytest.raises(AddressError):
            portal.resolve_function("local://add")
        with pytest.raises(RegistryError):
            portal.remove("http://127.0.0.1:1/api/add")
        with pytest.raises(RegistryError):
            portal.remove(portal.generate_address("nobody"))


def test_stats_and_health() -> None:
    with HTTPPortal() as portal, Consumer() as consumer:
        address = portal.apply(add)
        for _ in range(3):
            consumer.call_at(address, {"a": 1, "b": 2})
        stats = portal.stats()
        assert stats["calls"] == 3
        assert stats["listener"]["accepted"] == 1  # one connection, kept
        assert portal.health()["status"] == "up"
    assert portal.health()["status"] == "down"


class Failing:
    """An app that raises an exception."""

    def handle(self, request: Request) -> Response:
        raise RuntimeError("broken")


def test_an_app_that_fails_closes_only_its_connection() -> None:
    listener = Listener()
    portal = HTTPPortal(listener=listener)
    with Consumer() as consumer:
        address = portal.apply(add)
        portal.start()
        listener.mount("/broken", Failing())
        with socket.create_connection(("127.0.0.1", listener.port), timeout=WAIT) as sock:
            sock.sendall(b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(100) == b""
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
    portal.close()
    listener.stop()


def test_a_connection_past_the_limit_takes_the_place_of_an_idle_one() -> None:
    from portal.serving import ServingConfig

    def until(name: str, value: int) -> None:
        end, pause = monotonic() + WAIT, threading.Event()
        while portal.stats()["listener"][name] != value and monotonic() < end:
            pause.wait(0.005)

    with HTTPPortal(config=ServingConfig(connections=1)) as portal, Consumer() as consumer:
        address = portal.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        until("parked", 1)
        with socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT) as sock:
            sock.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 200"
            assert portal.stats()["listener"]["connections_evicted"] == 1
        until("connections", 0)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    try:
        subprocess.run(
            [*command, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
            check=True,
            capture_output=True,
            timeout=60,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not installed")
    return key, cert


class TLSPeer:
    """A TLS server in front of an HTTPPortal, which forwards bytes both ways."""

    def __init__(self, key: Path, cert: Path, port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
                secure = self._context.wrap_socket(sock, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            threading.Thread(target=self._forward, args=(secure,), daemon=True).start()

    def _forward(self, secure: ssl.SSLSocket) -> None:
        with secure, socket.create_connection(("127.0.0.1", self._target)) as plain:
            threading.Thread(target=_copy, args=(plain, secure), daemon=True).start()
            _copy(secure, plain)

    def close(self) -> None:
        self._listening.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        target.close()


def test_calls_over_https_need_a_trusted_certificate(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, gate = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        gate.wait(WAIT)

    with HTTPPortal() as portal:
        portal.apply(add)
        portal.apply(hold)
        peer = TLSPeer(*certificate, portal.port)
        base = f"https://127.0.0.1:{peer.port}/api"
        with Consumer() as consumer, pytest.raises(TransportError) as caught:
            consumer.call_at(f"{base}/add", {"a": 1, "b": 2})
        assert not caught.value.may_have_executed  # the certificate is not trusted
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
        with Consumer() as consumer:
            assert consumer.call_at(f"{base}/add", {"a": 1, "b": 2}) == 3.0
            with pytest.raises(RegistryError):
                consumer.call_at(f"{base}/nobody")
            with pytest.raises(CallTimeout):
                consumer.call_at(f"{base}/hold", timeout=0.3)
            gate.set()
        peer.close()


def test_items_that_follow_at_once_do_not_wait_for_the_next_one() -> None:
    go_on = threading.Event()

    def burst() -> Iterator[int]:
        yield from range(5)
        assert go_on.wait(WAIT)
        yield 5

    with HTTPPortal() as portal, Consumer() as consumer:
        address = portal.apply(burst)
        for _ in range(3):
            go_on.clear()
            items = consumer.stream_at(address)
            assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
            go_on.set()
            assert list(items) == [5]


def test_a_burst_is_whole_and_an_abandoned_one_is_cancelled() -> None:
    """The serving thread and the reactor both send what was gathered, and the reactor looks for hang-ups."""
    ended = threading.Event()

    def bursts(number: int) -> Iterator[int]:
        try:
            for one in range(number):
                if one % 7 == 0:
                    os.sched_yield()  # lets the reactor run
                yield one
        finally:
            ended.set()

    with fast_switches(), HTTPPortal() as portal, Consumer() as consumer:
        address = portal.apply(bursts)
        for _ in range(5):
            assert list(consumer.stream_at(address, {"number": 100})) == list(range(100))
            ended.clear()
            with requests.post(str(address), json={"number": 10**9}, stream=True, timeout=WAIT) as response:
                next(response.iter_lines())
            assert ended.wait(WAIT)


def test_a_portal_uses_the_given_client() -> None:
    client = HTTPClient(validate=False)
    with HTTPPortal(http=client) as portal, Consumer([portal]) as consumer:
        from portal import ValidationError

        address = portal.apply(add)
        with pytest.raises(ValidationError):  # raised by the server
            consumer.call_at(address, {"a": "x"})
        assert portal.stats()["failed"] == 1
        with pytest.raises(ValidationError):
            consumer.call_at(address, {"a": object()})


@pytest.mark.parametrize("seconds", [0.5, 60.0, -1, 365 * 24 * 3600 + 1, float("nan"), float("inf"), True, "60", None])
def test_max_age_is_whole_seconds_up_to_a_year(seconds: Any) -> None:
    with pytest.raises(ConfigError, match=r"http.max_age must be a whole number of seconds from 0 to 31,536,000, got "):
        HTTPPortal(max_age=seconds)


@pytest.mark.parametrize("seconds", [0, 60, 365 * 24 * 3600])
def test_a_valid_max_age(seconds: int) -> None:
    HTTPPortal(max_age=seconds).close()


@pytest.mark.parametrize(
    ("host", "call"),
    [
        ("127.0.0.1:8080", 'HTTPPortal("127.0.0.1", 8080)'),
        ("http://orders.example:80/", 'HTTPPortal("orders.example", 80)'),
        ("[::1]:8080", 'HTTPPortal("::1", 8080)'),
    ],
)
def test_a_host_with_a_port_is_rejected(host: str, call: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"host and port as two arguments: {call}")):
        HTTPPortal(host)


@pytest.mark.parametrize("host", ["::1", "localhost", "unix:8080", "unix:/run/orders:8080"])
def test_a_host_without_a_port(host: str) -> None:
    HTTPPortal(host).close()


@pytest.mark.parametrize(
    ("settings", "title"),
    [({}, "Portal"), ({"name": "shop"}, "shop"), ({"name": "shop", "title": "Orders"}, "Orders")],
)
def test_the_name_of_a_portal_is_the_title_of_its_documents(settings: dict[str, str], title: str) -> None:
    portal = HTTPPortal(**settings)  # type: ignore[arg-type]
    assert portal.name == settings.get("name")
    assert portal.openapi()["info"]["title"] == title
    portal.close()
