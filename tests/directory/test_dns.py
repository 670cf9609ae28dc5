"""DNSSource: a real server on a socket, its records and their TTL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("dns")

from portal import ConfigError
from portal.directory import open_directory
from portal.directory.dns import DNSSource
from portal.directory.source import Lookup
from tests.support.clocks import Clock
from tests.support.dns_server import DNSServer


@pytest.fixture
def server() -> Iterator[DNSServer]:
    with DNSServer() as made:
        yield made


def addresses(lookup: Lookup | None, name: str = "billing/charge") -> dict[str, float]:
    assert lookup is not None
    return {str(one): one.weight for one in lookup(name)}


def source(server: DNSServer, rest: str, clock: Clock) -> DNSSource:
    return DNSSource(f"dns://127.0.0.1:{server.port}/{rest}", clock)


def test_addresses_of_a_headless_service(server: DNSServer) -> None:
    clock = Clock()
    server.records["billing.example.", "A"] = (5, ["10.0.0.1", "10.0.0.2"])
    server.records["billing.example.", "AAAA"] = (5, ["fd00::1"])
    found = source(server, "billing.example?port=8080", clock)
    assert addresses(found.poll()) == {
        "http://10.0.0.1:8080/api/billing/charge": 1.0,
        "http://10.0.0.2:8080/api/billing/charge": 1.0,
        "http://[fd00::1]:8080/api/billing/charge": 1.0,
    }
    asked = len(server.asked)
    server.records["billing.example.", "A"] = (5, ["10.0.0.3"])
    del server.records["billing.example.", "AAAA"]
    clock.now += 4.9
    assert found.poll() is None
    assert len(server.asked) == asked, "the answer has not expired"
    clock.now += 0.2
    assert addresses(found.poll()) == {"http://10.0.0.3:8080/api/billing/charge": 1.0}
    assert found.interval <= 5.0


def test_services_with_priorities_and_weights(server: DNSServer) -> None:
    name = "_http._tcp.billing.example."
    server.records[name, "SRV"] = (
        30,
        ["10 60 8081 a.example.", "10 0 8082 b.example.", "20 1 8083 c.example.", "10 20 8084 ."],
    )
    found = source(server, "_http._tcp.billing.example?scheme=https&path=/v1", Clock())
    assert addresses(found.poll(), "add") == {
        "https://a.example:8081/v1/add": 60.0,
        "https://b.example:8082/v1/add": 0.1,
    }
    server.records[name, "SRV"] = (30, ["1 0 1 a.example.", "1 0 2 a.example."])
    assert set(addresses(source(server, name, Clock()).poll()).values()) == {1.0}


@pytest.mark.parametrize("exists", [True, False])
def test_a_name_without_records_is_asked_again_after_its_negative_ttl(server: DNSServer, exists: bool) -> None:
    clock = Clock()
    server.negative_ttl = 7
    if exists:
        server.records["billing.example.", "TXT"] = (5, ['"x"'])
    found = source(server, "billing.example?port=80", clock)
    assert addresses(found.poll()) == {}
    server.records["billing.example.", "A"] = (60, ["10.0.0.1"])
    clock.now += 6.9
    assert found.poll() is None
    clock.now += 0.2
    assert len(addresses(found.poll())) == 1
    assert found.interval <= 7.0, "there are no IPv6 addresses for 7 seconds"


def test_extreme_ttls_are_bounded(server: DNSServer) -> None:
    for ttl, interval in ((0, 1.0), (86400, 300.0)):
        server.records["_a._tcp.example.", "SRV"] = (ttl, ["1 1 1 a.example."])
        found = source(server, "_a._tcp.example", Clock())
        found.poll()
        assert found.interval == interval


def test_a_server_that_does_not_answer_leaves_the_last_list(server: DNSServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.directory.dns._TIMEOUT", 0.2)
    server.records["_a._tcp.example.", "SRV"] = (0, ["1 1 1 a.example."])
    directory = open_directory(f"dns://127.0.0.1:{server.port}/_a._tcp.example")
    assert len(directory.instances("add")) == 1
    server.silent = True
    directory._source._until = 0.0  # type: ignore[attr-defined]
    directory.poll()
    assert len(directory.instances("add")) == 1
    assert directory.problem is not None
    assert not directory.trusted
    directory.close()


def test_the_resolver_of_the_system_is_the_default() -> None:
    assert not DNSSource("dns://billing.example?port=8080").trusted


@pytest.mark.parametrize(
    "rest", ["a?port=x", "a?port=99999", "a?port=1&scheme=ftp", "a?port=1&path=x", "a:x/b?port=1#f"]
)
def test_wrong_urls_are_rejected(rest: str) -> None:
    with pytest.raises(ConfigError):
        DNSSource(f"dns://{rest}")


def test_a_record_that_makes_no_address_does_not_hide_the_others(
    server: DNSServer, caplog: pytest.LogCaptureFixture
) -> None:
    name = "_http._tcp.odd.example."
    server.records[name, "SRV"] = (30, ["1 1 80 a.example.", r"1 1 80 b\032c.example."])
    assert addresses(source(server, name.rstrip("."), Clock()).poll()) == {"http://a.example/api/billing/charge": 1.0}
    assert "a record of _http._tcp.odd.example in DNS is left out" in caplog.text


def test_a_record_that_stays_wrong_is_logged_once_a_minute(server: DNSServer, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    server.records["_http._tcp.odd.example.", "SRV"] = (1, [r"1 1 80 b\032c.example."])
    found = source(server, "_http._tcp.odd.example", clock)
    for _ in range(5):
        found.poll()
        clock.now += 2.0
    assert len(caplog.records) == 1


def test_the_ttl_of_an_alias_counts(server: DNSServer) -> None:
    server.records["shop.example.", "CNAME"] = (7, ["host.example."])
    server.records["host.example.", "A"] = (200, ["10.0.0.1"])
    server.negative_ttl = 100
    found = source(server, "shop.example?port=8080", Clock())
    assert addresses(found.poll()) == {"http://10.0.0.1:8080/api/billing/charge": 1.0}
    assert found.interval == 7.0
