"""Registration: what a portal serves is in the directory while it serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from portal import ConfigError, HTTPPortal, WebSocketPortal, function, service
from portal._internal.redis_client import StoreUnavailable
from portal.directory import PolledDirectory, Registration
from portal.directory.memory import MemoryStore
from portal.directory.record import decode
from portal.directory.registration import registration_of
from portal.directory.source import RecordSource
from portal.directory.store import StoredRecord
from tests.support.clocks import Clock
from tests.support.waiting import eventually

KEY = "0123456789abcdef"


@function(version="3")
def add(a: float, b: float) -> float:
    return a + b


@service
class Billing:
    def charge(self) -> int:
        return 1


class Flaky(MemoryStore):
    fails = False
    writes = 0

    def _check(self) -> None:
        self.writes += 1
        if self.fails:
            raise StoreUnavailable("gone")

    def register(self, owner: str, text: str, lease: float) -> int:
        self._check()
        return super().register(owner, text, lease)

    def renew(self, owner: str, token: int, text: str, lease: float) -> bool:
        self._check()
        return super().renew(owner, token, text, lease)

    def withdraw(self, owner: str, token: int) -> None:
        self._check()
        super().withdraw(owner, token)


@pytest.fixture
def store() -> Flaky:
    return Flaky(Clock())


@pytest.fixture
def directory(store: Flaky) -> Iterator[PolledDirectory]:
    made = PolledDirectory(RecordSource(store, None, 0.01))
    yield made
    made.close()


def records(store: MemoryStore) -> tuple[StoredRecord, ...]:
    found = store.poll(None, 0)
    assert found is not None
    return found.records


@pytest.mark.parametrize("kind", [HTTPPortal, WebSocketPortal])
def test_a_portal_is_registered_while_it_serves(
    kind: Callable[..., HTTPPortal], store: Flaky, directory: PolledDirectory
) -> None:
    portal = kind(directory=Registration(store, weight=2.0, zone="a"))
    address = portal.apply(add)
    portal.apply_service(Billing())
    assert records(store) == ()
    portal.start()
    [found] = directory.instances("add")
    assert (found.address, found.weight, found.zone, found.version) == (address, 2.0, "a", "3")
    assert found.fingerprint == add.schema.fingerprint
    [charge] = directory.instances("billing/charge")
    assert charge.address.segments[1:3] == ("billing", "charge")
    portal.stop()
    assert records(store) == ()
    portal.start()
    assert len(records(store)) == 1
    portal.close()
    assert records(store) == ()


def test_what_is_published_later_is_registered(store: Flaky, directory: PolledDirectory) -> None:
    with HTTPPortal(directory=Registration(store)) as portal:
        assert directory.instances("add") == ()
        address = portal.apply(add)
        eventually(lambda: bool(directory.instances("add")))
        portal.remove(address)
        eventually(lambda: not directory.instances("add"))


def test_a_lost_record_is_registered_again(store: Flaky, caplog: pytest.LogCaptureFixture) -> None:
    registration = Registration(store)
    with HTTPPortal(directory=registration) as portal:
        portal.apply(add)
        registration.renew()
        [first] = records(store)
        registration.renew()
        assert records(store)[0].token == first.token
        store.withdraw(first.owner, first.token)
        registration.renew()
        [second] = records(store)
        assert second.token > first.token
        assert second.owner == first.owner
    assert "the record in the directory is gone" in caplog.text


def test_a_store_that_does_not_respond_stops_no_portal(store: Flaky, caplog: pytest.LogCaptureFixture) -> None:
    store.fails = True
    registration = Registration(store)
    with HTTPPortal(directory=registration) as portal:
        assert portal.accepting
        assert records(store) == ()
        registration.renew()
        assert caplog.text.count("the registration is tried again") == 1
        store.fails = False
        registration.renew()
        assert len(records(store)) == 1
        store.fails = True
    assert "ends with its lease" in caplog.text


def test_records_are_signed(store: Flaky) -> None:
    with HTTPPortal(directory=Registration(store, key=KEY)) as portal:
        portal.apply(add)
        [found] = records(store)
        import time

        record = decode(found.text, found.owner, KEY.encode(), time.time())
    assert record.lease == 10.0


def test_the_advertised_address(store: Flaky, directory: PolledDirectory) -> None:
    with HTTPPortal("0.0.0.0", directory=Registration(store, advertise="shop.example:8443")) as portal:
        portal.apply(add)
        eventually(lambda: bool(directory.instances("add")))
        [found] = directory.instances("add")
    assert found.address.authority == "shop.example:8443"


def test_an_address_that_clients_cannot_use_is_rejected(store: Flaky) -> None:
    portal = HTTPPortal("0.0.0.0", directory=Registration(store))
    with pytest.raises(ConfigError, match=r"directory\.advertise must be"):
        portal.start()
    assert records(store) == ()
    portal.close()


def test_a_registration_is_of_one_portal(store: Flaky) -> None:
    registration = Registration(store)
    with HTTPPortal(directory=registration):
        other = HTTPPortal(directory=registration)
        with pytest.raises(ConfigError, match="of one portal"):
            other.start()
        other._registration = None
        other.close()


def test_a_url_is_enough() -> None:
    made = registration_of("memory://test-registration")
    assert isinstance(made, Registration)
    assert registration_of(made) is made
    assert registration_of(None) is None
    with pytest.raises(ConfigError, match="something else writes"):
        HTTPPortal(directory="file:///etc/portals.json")
    with pytest.raises(ConfigError, match="at least 16 bytes"):
        Registration("memory://x", key="short")


def test_1000_portals_send_messages_in_proportion() -> None:
    """A renewal is one message, whatever the number of portals and consumers; it wakes no consumer."""
    counts = {}
    for portals in (10, 100, 1000):
        clock = Clock()
        store = Flaky(clock)
        for number in range(portals):
            store.register(f"p{number}", "x" * 200, 10.0)
        known = store.poll(None, 0)
        assert known is not None
        store.writes = polled = 0
        tokens = {record.owner: record.token for record in known.records}
        for _ in range(18):  # a minute of renewals, at a third of the lease
            clock.now += 10 / 3
            for owner, token in tokens.items():
                assert store.renew(owner, token, "x" * 200, 10.0)
            polled += store.poll(known.epoch, known.version) is not None
        counts[portals] = (store.writes, polled)
    assert counts == {10: (180, 0), 100: (1800, 0), 1000: (18000, 0)}


def test_a_wall_clock_that_is_set_back_does_not_end_a_lease(store: Flaky) -> None:
    clock, wall = Clock(), Clock()
    registration = Registration(store, clock=clock, now=wall)
    with HTTPPortal(directory=registration) as portal:
        portal.apply(add)
        registration.renew()
        registration._loop.stop()
        [before] = records(store)
        wall.now -= 3600.0
        clock.now += 4.0
        registration._wait_and_renew()
        [after] = records(store)
    assert decode(after.text, after.owner, None, 0.0).at < decode(before.text, before.owner, None, 0.0).at


def test_what_is_in_doubt_is_withdrawn_as_well(store: Flaky) -> None:
    """The last registration failed, and the record before it is still there."""
    registration = Registration(store)
    with HTTPPortal(directory=registration) as portal:
        registration._loop.stop()
        assert len(records(store)) == 1
        portal.apply(add)
        store.fails = True
        registration.renew()
        store.fails = False
    assert records(store) == ()


def test_the_thread_of_a_registration_that_stops_does_not_wait(store: Flaky) -> None:
    registration = Registration(store)
    step = threading.Thread(target=registration._wait_and_renew, daemon=True)
    step.start()
    step.join(30.0)
    assert not step.is_alive()


def test_a_start_during_a_stop_goes_on(store: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    registration = Registration(store)
    with HTTPPortal(directory=registration) as portal:
        stop = registration._loop.stop

        def start_first() -> None:
            registration.start(portal)
            stop()

        with monkeypatch.context() as patch:
            patch.setattr(registration._loop, "stop", start_first)
            registration.stop()
        assert registration._loop.running
        assert len(records(store)) == 1
