"""Registration: what a portal serves is in the directory while it serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from portal import Address, ConfigError, FunctionSchema, HTTPPortal, WebSocketPortal, function, service
from portal._internal.redis_client import StoreUnavailable
from portal.directory import PolledDirectory, Registration, registration
from portal.directory.memory import MemoryStore
from portal.directory.record import decode
from portal.directory.registration import registration_of
from portal.directory.source import RecordSource
from portal.directory.store import StoredRecord
from tests.support.clocks import Clock
from tests.support.raising import raising_once
from tests.support.waiting import eventually

KEY = "0123456789abcdef"


@function(version="3")
def add(a: float, b: float) -> float:
    return a + b


def one() -> int:
    return 1


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

    def holds(self, owner: str, token: int) -> bool:
        self._check()
        return super().holds(owner, token)

    def withdraw(self, owner: str, token: int | None) -> None:
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
    with pytest.raises(ConfigError, match="another program writes it"):
        HTTPPortal(directory="file:///etc/portals.json")
    with pytest.raises(ConfigError, match="at least 16 bytes"):
        Registration("memory://x", key="short")


class Simulated:
    """A portal that listens nowhere."""

    def __init__(self, number: int) -> None:
        self.base = Address.of(f"http://10.0.0.1:{number}/api")
        self.listener = SimpleNamespace(host="10.0.0.1")
        self._functions = {self.base.child("add", "1"): add.schema}

    def stats(self) -> dict[str, Any]:
        return {"running": 0}

    def functions(self) -> dict[Address, FunctionSchema]:
        return self._functions


def test_1000_portals_send_messages_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A portal sends about one message a second, whatever the number of portals; it wakes no consumer."""
    monkeypatch.setattr(registration, "BackgroundLoop", lambda *_: SimpleNamespace(start=lambda: None))
    counts = {}
    for portals in (10, 100, 1000):
        clock = Clock()
        store = Flaky(clock)
        registrations = [Registration(store, clock=clock) for _ in range(portals)]
        for number, one in enumerate(registrations):
            one.start(Simulated(number + 1))
        known = store.poll(None, 0)
        assert known is not None
        assert len(known.records) == portals
        store.writes = 0
        for _ in range(4 * 14):  # the steps of the threads in 14 seconds: 4 renewals and 12 looks
            clock.now += 0.25
            for one in registrations:
                one.keep()
        assert store.poll(known.epoch, known.version) is None
        counts[portals] = store.writes
    assert counts == {10: 160, 100: 1600, 1000: 16000}


def test_a_store_that_has_lost_its_memory_has_the_record_a_second_later(store: Flaky) -> None:
    clock = Clock()
    made = Registration(store, lease=3600.0, clock=clock)
    with HTTPPortal(directory=made):
        made._loop.stop()
        [before] = records(store)
        store.withdraw(before.owner, None)
        clock.now += 0.9
        made.keep()
        assert records(store) == ()
        clock.now += 0.2
        made.keep()
        [after] = records(store)
        assert (after.owner, after.token > before.token) == (before.owner, True)


def test_a_store_that_does_not_respond_is_a_problem_until_it_does(store: Flaky) -> None:
    clock = Clock()
    made = Registration(store, lease=3600.0, clock=clock)
    with HTTPPortal(directory=made):
        made._loop.stop()
        assert made.problem is None
        store.fails = True
        clock.now += 1.1
        made.keep()
        assert made.problem == "the directory does not respond, the registration is tried again: gone"
        writes = store.writes
        made.keep()
        assert store.writes == writes, "a failed look is not repeated at once"
        store.fails = False
        clock.now += 1.1
        made.keep()
        assert made.problem is None


def test_a_portal_whose_record_is_too_large_does_not_start(store: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "MAX_SIZE", 500)
    made = Registration(store)
    portal = HTTPPortal(directory=made)
    addresses = [portal.apply(function(one, name=f"f{number}")) for number in range(5)]
    with pytest.raises(ConfigError, match=r"at most 500 characters.*split the functions"):
        portal.start()
    assert not portal.accepting
    assert records(store) == ()
    for address in addresses:
        portal.remove(address)
    with portal:
        assert len(records(store)) == 1


def test_functions_that_make_a_record_too_large_are_reported(
    store: Flaky, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registration, "MAX_SIZE", 500)
    made = Registration(store)
    with HTTPPortal(directory=made) as portal:
        made._loop.stop()
        portal.apply(add)
        made.renew()
        [before] = records(store)
        more = [portal.apply(function(one, name=f"f{number}")) for number in range(5)]
        made.renew()
        made.renew()
        [kept] = records(store)
        assert kept.token == before.token
        assert [one.name for one in decode(kept.text, kept.owner, None, 0.0).functions] == ["add"]
        assert caplog.text.count("the last changes are not registered") == 1
        assert "for 6 functions" in str(made.problem)
        for address in more:
            portal.remove(address)
        made.renew()
        assert made.problem is None


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


# faults inside


@pytest.mark.parametrize("error", [RuntimeError("injected"), MemoryError(), SystemExit(1)])
@pytest.mark.parametrize("step", ["renew", "register"])
def test_a_write_that_raises_is_tried_again_within_a_second(
    store: Flaky, monkeypatch: pytest.MonkeyPatch, error: BaseException, step: str
) -> None:
    clock = Clock()
    registration = Registration(store, lease=30.0, clock=clock)
    with HTTPPortal(directory=registration) as portal:
        registration._loop.stop()
        if step == "register":
            portal.apply(add)  # so that the record changes
        raising_once(monkeypatch, store, step, error)
        with pytest.raises(type(error)):
            registration.renew()
        clock.now += 1.0
        registration._wait_and_renew()
        [found] = records(store)
        assert len(decode(found.text, found.owner, None, 0.0).functions) == (step == "register")


def test_a_stop_that_fails_ends_the_thread(store: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    registration = Registration(store)
    with HTTPPortal(directory=registration) as portal:
        thread = registration._loop._thread
        raising_once(monkeypatch, store, "withdraw", MemoryError())
        with pytest.raises(MemoryError):
            registration.stop()
        assert thread is not None
        assert not thread.is_alive()
        registration.start(portal)
        assert len(records(store)) == 1
    assert records(store) == ()
