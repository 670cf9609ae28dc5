"""RecordSource: records become instances by name."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from portal._internal.redis_client import StoreUnavailable
from portal.directory import Instance
from portal.directory.memory import MemoryStore
from portal.directory.record import Record, Served, encode
from portal.directory.source import RecordSource
from portal.directory.store import Snapshot, StoredRecord
from tests.support.clocks import Clock
from tests.support.races import fast_switches, in_threads

KEY = b"0123456789abcdef"
A, B = Instance("http://a:1/api/add/1"), Instance("http://b:1/api/add/1", 2.0)


def text(owner: str, *instances: Instance, key: bytes | None = None, lease: float = 10.0) -> str:
    return encode(Record(tuple(Served("add", one) for one in instances), lease, at=1000.0), owner, key)


class Forgetful(MemoryStore):
    """A store that can lose its memory, and fail."""

    fails = False
    restricted = False

    def forget(self) -> None:
        self.__init__(self._clock)  # type: ignore[misc]

    def poll(self, epoch: str | None, version: int) -> Snapshot | None:
        if self.fails:
            raise StoreUnavailable("gone")
        return super().poll(epoch, version)


def source_of(store: MemoryStore, clock: Clock, key: bytes | None = None) -> RecordSource:
    return RecordSource(store, key, 0.5, clock=clock, now=clock)


def test_instances_by_name() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    source = source_of(store, clock)
    store.register("b", text("b", B), 10.0)
    store.register("a", text("a", A), 10.0)
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A, B)
    assert lookup("other") == ()
    assert source.poll() is None
    clock.now += 11.0
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == ()


def test_of_two_records_with_an_address_the_later_one_counts() -> None:
    store, clock = MemoryStore(), Clock()
    store.register("z", text("z", A), 10.0)
    newer = Instance(A.address, 5.0)
    store.register("b", text("b", newer), 10.0)
    lookup = source_of(store, clock).poll()
    assert lookup is not None
    assert lookup("add") == (newer,)


def test_only_signed_records_count_with_a_key() -> None:
    store, clock = Forgetful(), Clock()
    store.register("evil", text("evil", B), 10.0)
    store.register("good", text("good", A, key=KEY), 10.0)
    signed, unsigned = source_of(store, clock, KEY), source_of(store, clock)
    found = signed.poll()
    assert found is not None
    assert found("add") == (A,)
    assert signed.problem == "1 record rejected"
    assert signed.trusted
    assert not unsigned.trusted
    found = unsigned.poll()
    assert found is not None
    assert found("add") == (A, B)


def test_records_that_the_store_has_lost_stay_until_their_leases_end() -> None:
    clock = Clock()
    store = Forgetful(clock)
    source = source_of(store, clock)
    store.register("a", text("a", A), 10.0)
    store.register("b", text("b", B), 10.0)
    source.poll()
    store.forget()
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A, B)
    assert source.problem == "the store has lost 2 records, used until the leases end"
    token = store.register("a", text("a", A), 60.0)
    assert source.poll() is not None
    clock.now += 11.0
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A,)
    assert source.problem is None
    store.withdraw("a", token)
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == ()


@pytest.mark.parametrize(("seconds", "stays"), [(1.0, False), (6.0, True), (3600.0, True)])
def test_leases_that_ended_because_the_store_did_not_respond(seconds: float, stays: bool) -> None:
    """A store that was frozen or full comes back with its memory, and ends the leases that nobody could renew."""
    clock = Clock()
    store = Forgetful(clock)
    source = source_of(store, clock)
    token = store.register("a", text("a", A), 10.0)
    source.poll()
    store.fails = True
    with pytest.raises(StoreUnavailable):
        source.poll()
    clock.now += seconds
    with pytest.raises(StoreUnavailable):
        source.poll()
    store.fails = False
    lookups = [source.poll()]
    clock.now += 2.0  # the portals have some seconds to notice that the store responds
    store.withdraw("a", token)
    lookups.append(source.poll())
    assert [lookup("add") for lookup in lookups if lookup] == [(A,) if stays else ()]
    assert (source.problem is not None) is stays
    clock.now += 11.0
    lookup = source.poll()
    assert (lookup is not None) is stays
    assert lookup is None or lookup("add") == ()
    assert source.problem is None


def test_a_portal_that_leaves_after_an_outage_is_gone_at_once() -> None:
    clock = Clock()
    store = Forgetful(clock)
    source = source_of(store, clock)
    token = store.register("a", text("a", A), 10.0)
    source.poll()
    store.fails = True
    clock.now += 6.0
    with pytest.raises(StoreUnavailable):
        source.poll()
    store.fails = False
    source.poll()
    store.renew("a", token, text("a", A), 10.0)
    clock.now += 5.0
    source.poll()
    store.withdraw("a", token)
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == ()


def test_a_consumer_that_was_frozen_believes_the_store() -> None:
    clock = Clock()
    store = Forgetful(clock)
    source = source_of(store, clock)
    store.register("a", text("a", A), 10.0)
    source.poll()
    clock.now += 3600.0
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == ()


def test_a_store_that_does_not_respond_is_an_error() -> None:
    store = Forgetful()
    store.fails = True
    with pytest.raises(StoreUnavailable):
        source_of(store, Clock()).poll()


def test_a_signed_record_that_is_not_renewed_is_dropped_though_the_store_keeps_it() -> None:
    """Who may write the store, and has no key, can keep the record of a portal that has ended."""
    clock = Clock()
    store = Forgetful(clock)
    source = source_of(store, clock, KEY)
    start = clock.now
    record = Record((Served("add", A),), 10.0, at=start)
    store.register("dead", encode(record, "dead", KEY), 10_000.0)
    token = store.register("alive", encode(replace(record, functions=(Served("add", B),)), "alive", KEY), 10_000.0)
    assert source.poll() is not None
    reported = []
    for seconds in range(5, 100, 5):
        clock.now = start + seconds
        renewed = Record((Served("add", B),), 10.0, at=clock.now)
        assert store.renew("alive", token, encode(renewed, "alive", KEY), 10_000.0)
        lookup = source.poll()
        if lookup is not None:
            reported.append((seconds, lookup("add")))
    assert reported == [(75, (B,))]  # a lease and the skew of two clocks later


def test_a_record_that_holds_too_large_a_number_hides_no_other() -> None:
    store, clock = MemoryStore(), Clock()
    store.register("good", text("good", A), 10.0)
    body = json.dumps({"functions": [], "lease": 10**400, "load": 0.0, "at": 0.0})
    store.register("evil", json.dumps({"body": body}), 10.0)
    source = source_of(store, clock)
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A,)
    assert source.rejected == 1


def test_a_replica_that_lacks_the_last_changes_counts_as_a_store_that_lost_them() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    source = source_of(store, clock)
    store.register("a", text("a", A), 10.0)
    lagging = dict(store._records), store._version
    store.register("b", text("b", B), 10.0)
    assert source.poll() is not None
    store._records, store._version = lagging
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A, B)
    assert source.problem is not None
    clock.now += 5.0
    store.register("a", text("a", A), 60.0)
    clock.now += 6.0
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A,)


def test_a_record_that_was_rejected_for_its_time_is_read_again() -> None:
    """The clock of its host was wrong. A store does not report the renewal by which that shows."""
    clock = Clock()
    store = Forgetful(clock)
    source = source_of(store, clock, KEY)
    record = Record((Served("add", A),), 10.0, at=clock.now + 600.0)
    token = store.register("a", encode(record, "a", KEY), 10_000.0)
    source.poll()
    assert source.rejected == 1
    assert store.renew("a", token, encode(replace(record, at=clock.now), "a", KEY), 10_000.0)
    assert source.poll() is None
    clock.now += 5.0
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A,)
    assert source.problem is None
    assert source.poll() is None


@pytest.mark.parametrize("key", [None, KEY])
def test_a_record_that_somebody_overwrites_stays_until_its_portal_renews_it(key: bytes | None) -> None:
    clock = Clock()
    store = Forgetful(clock)
    source = source_of(store, clock, key)
    kept = encode(Record((Served("add", A),), 10.0, at=clock.now), "a", key)
    token = store.register("a", kept, 10_000.0)
    source.poll()
    store._records["a"] = (StoredRecord("a", token, "{"), clock.now + 10_000.0)
    store._version += 1
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A,)
    assert source.problem == "the store has lost 1 record, used until the leases end"
    assert store.renew("a", token, kept, 10_000.0)
    assert source.poll() is None
    clock.now += 5.0
    source.poll()
    assert source.problem is None
    clock.now += 11.0
    lookup = source.poll()
    assert lookup is None or lookup("add") == (A,)


def test_a_record_that_stays_overwritten_ends_with_its_lease() -> None:
    clock = Clock()
    store = Forgetful(clock)
    source = source_of(store, clock)
    token = store.register("a", text("a", A), 10_000.0)
    source.poll()
    store._records["a"] = (StoredRecord("a", token, "{"), clock.now + 10_000.0)
    store._version += 1
    source.poll()
    lists = []
    for _ in range(4):
        clock.now += 5.0
        lookup = source.poll()
        lists += [] if lookup is None else [lookup("add")]
    assert lists == [()]
    assert source.problem == "1 record rejected"


def test_a_poll_that_an_error_interrupts_is_made_again() -> None:
    class Failing(Clock):
        fails = False

        def __call__(self) -> float:
            if self.fails:
                raise MemoryError
            return super().__call__()

    clock = Failing()
    store = MemoryStore(Clock())
    source = RecordSource(store, KEY, 0.5, clock=Clock(), now=clock)
    store.register("a", encode(Record((Served("add", A),), 10.0, at=clock()), "a", KEY), 10.0)
    clock.fails = True
    with pytest.raises(MemoryError):
        source.poll()
    clock.fails = False
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (A,)


def test_rejected_records_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    source = source_of(store, clock, KEY)
    for number in range(50):
        store.register(f"evil{number}", text(f"evil{number}", B), 10_000.0)
    for number in range(100):
        store.register("one more", f"{number}", 10_000.0)
        assert source.poll() is not None
    assert len(caplog.records) == 10
    clock.now += 61.0
    store.register("one more", "again", 10_000.0)
    source.poll()
    assert 11 <= len(caplog.records) <= 21
    assert "more in the last interval" in caplog.text


def test_the_problem_is_read_while_records_come_and_go() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    source = source_of(store, clock)
    over = threading.Event()

    def work(thread: int) -> None:
        if thread == 0:
            try:
                for number in range(60):
                    for owner in range(40):
                        store.register(f"{number % 2}-{owner}", text(f"{number % 2}-{owner}", A), 10.0)
                    clock.now += 6.0
                    source.poll()
            finally:
                over.set()
        while not over.is_set():
            assert source.problem is None

    with fast_switches():
        in_threads(3, work)
