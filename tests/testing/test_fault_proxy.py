from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from portal import Address, ConfigError, Consumer, HTTPPortal, TransportError
from portal.testing import BlackHole, Cut, FaultProxy, Latency, NetworkFault, Refuse, Reset, Rewrite
from tests.support.echo_server import EchoServer, echo_server


def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with echo_server() as running:
        yield running


def exchange(proxy: FaultProxy, data: bytes = b"one") -> bytes:
    """Send data over a connection of its own; return the response until as many bytes or the end."""
    found = b""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as sock:
        sock.sendall(data)
        while len(found) < len(data) and (piece := sock.recv(len(data))):
            found += piece
    return found


def test_a_call_meets_the_fault_and_then_none() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)
        with FaultProxy(http.base) as proxy:
            there = proxy.through(address)
            assert (there.port, there.path) == (proxy.port, address.path)
            proxy.inject(Cut(after=10))
            with pytest.raises(TransportError):
                consumer.call_at(there, {"a": 1, "b": 2})
            proxy.clear()
            assert consumer.call_at(there, {"a": 1, "b": 2}) == 3
            assert proxy.counts["Cut"] >= 1
            assert proxy.counts["none"] >= 1


def test_a_proxy_refuses_connections_before_start_and_after_close(server: EchoServer) -> None:
    proxy = FaultProxy(server.port)
    with pytest.raises(ConnectionRefusedError):
        exchange(proxy)
    with proxy:
        assert exchange(proxy) == b"ONE"
    with pytest.raises(ConnectionRefusedError):
        exchange(proxy)
    proxy.close()  # a second time


def test_refuse_closes_connections_until_it_is_cleared(server: EchoServer) -> None:
    with FaultProxy(server.port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as sock:
        sock.sendall(b"one")
        assert sock.recv(3) == b"ONE"
        proxy.inject(Refuse())
        assert sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            exchange(proxy)
        proxy.clear()
        assert exchange(proxy) == b"ONE"


def outcomes(server: EchoServer, **options: Any) -> list[bytes]:
    faults = [Cut(0), Cut(range(1, 3)), Rewrite(bytes.lower, "lower")]
    with FaultProxy(server.port, faults, **options) as proxy:
        found = [exchange(proxy) for _ in range(40)]
        assert sum(proxy.counts.values()) == 40
        assert proxy.counts.get("none", 0) == found.count(b"ONE")
    return found


def test_the_seed_decides_the_faults(server: EchoServer) -> None:
    assert outcomes(server, seed=1) == outcomes(server, seed=1)
    assert outcomes(server, seed=1) != outcomes(server, seed=2)
    assert set(outcomes(server)) == {b"", b"O", b"ON", b"one"}


def test_the_share_of_exchanges_with_a_fault(server: EchoServer) -> None:
    assert outcomes(server, share=0) == [b"ONE"] * 40
    assert 5 <= outcomes(server, share=0.5).count(b"ONE") <= 35


def test_close_ends_connections_in_every_fault(server: EchoServer) -> None:
    proxy = FaultProxy(server.port, [Latency(3_600)]).start()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as waiting:
        waiting.sendall(b"one")
        while not proxy.counts:
            assert exchange_is_open(waiting)
        proxy.inject(BlackHole())
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as silent:
            silent.sendall(b"two")
            while "BlackHole" not in proxy.counts:
                assert exchange_is_open(silent)
            proxy.close()
            assert silent.recv(1) == b""
            assert b"" in (waiting.recv(3), waiting.recv(3))


def exchange_is_open(sock: socket.socket) -> bool:
    sock.settimeout(0.01)
    try:
        return sock.recv(1) != b""
    except TimeoutError:
        return True
    finally:
        sock.settimeout(10)


@pytest.mark.parametrize("target", ["http://127.0.0.1:8080/api", Address.parse("ws://localhost:8080"), 8080])
def test_a_target_is_an_address_or_a_port(target: Any) -> None:
    proxy = FaultProxy(target)
    assert repr(proxy).endswith(" to localhost:8080>" if "localhost" in str(target) else " to 127.0.0.1:8080>")
    proxy.close()


def test_an_ipv6_server_is_reached() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    with HTTPPortal("::1") as http, FaultProxy(http.base) as proxy, Consumer() as consumer:
        assert consumer.call_at(proxy.through(http.apply(add)), {"a": 1, "b": 2}) == 3


@pytest.mark.parametrize(
    ("arguments", "options", "setting"),
    [
        ((0,), {}, "fault_proxy.target"),
        ((True,), {}, "fault_proxy.target"),
        ((65_536,), {}, "fault_proxy.target"),
        (("local://add",), {}, "fault_proxy.target"),
        ((8080, ["cut"]), {}, "fault_proxy.faults"),
        ((8080, [Refuse(), Reset()]), {}, "fault_proxy.faults"),
        ((8080,), {"seed": 1.5}, "fault_proxy.seed"),
        ((8080,), {"share": 1.5}, "fault_proxy.share"),
        ((8080,), {"share": True}, "fault_proxy.share"),
    ],
)
def test_a_wrong_setting_is_rejected(arguments: tuple[Any, ...], options: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FaultProxy(*arguments, **options)
    assert caught.value.path == setting


def test_rejected_faults_leave_the_faults_unchanged(server: EchoServer) -> None:
    faults: list[NetworkFault] = [Rewrite(bytes.lower)]
    with FaultProxy(server.port, faults) as proxy:
        with pytest.raises(ConfigError):
            proxy.inject(Refuse(), Cut(0))
        assert exchange(proxy) == b"one"
