"""What every store does."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.directory.memory import MemoryStore
from portal.directory.redis import RedisStore
from portal.directory.sqlite import SQLiteStore
from portal.directory.store import Snapshot, Store
from tests.support.clocks import Clock
from tests.support.waiting import eventually

Stores = tuple[Store, Callable[[float], None]]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """A store, and what moves its clock. That of a server cannot be moved; its leases in these tests are short."""
    clock = Clock()

    def move(seconds: float) -> None:
        clock.now += seconds

    if request.param == "memory":
        yield MemoryStore(clock), move
    elif request.param == "sqlite":
        yield SQLiteStore(tmp_path / "portals.sqlite", clock), move
    else:
        url = request.getfixturevalue("valkey_url")
        store = RedisStore(url, namespace=uuid.uuid4().hex)
        yield store, lambda seconds: None
        store.close()


@pytest.fixture
def lease(request: pytest.FixtureRequest, stores: Stores) -> float:
    """Seconds of a lease in the tests of its end."""
    return 0.1 if isinstance(stores[0], RedisStore) else 10.0


def texts(snapshot: Snapshot | None) -> dict[str, str]:
    assert snapshot is not None
    return {record.owner: record.text for record in snapshot.records}


def test_a_store_is_empty_at_first(stores: Stores) -> None:
    store, _ = stores
    assert texts(store.poll(None, 0)) == {}


def test_changes_are_seen_and_renewals_are_not(stores: Stores) -> None:
    store, _ = stores
    token = store.register("a", "one", 30.0)
    first = store.poll(None, 0)
    assert texts(first) == {"a": "one"}
    assert first is not None
    assert first.records[0].token == token
    assert store.poll(first.epoch, first.version) is None
    assert store.renew("a", token, "two", 30.0)
    assert store.poll(first.epoch, first.version) is None
    assert texts(store.poll(None, 0)) == {"a": "two"}
    store.register("b", "three", 30.0)
    second = store.poll(first.epoch, first.version)
    assert texts(second) == {"a": "two", "b": "three"}
    assert second is not None
    store.withdraw("a", token)
    assert texts(store.poll(second.epoch, second.version)) == {"b": "three"}


def test_tokens_grow_and_fence_off_earlier_owners(stores: Stores) -> None:
    store, _ = stores
    first = store.register("a", "one", 30.0)
    second = store.register("a", "two", 30.0)
    assert second > first
    assert not store.renew("a", first, "stale", 30.0)
    store.withdraw("a", first)
    assert texts(store.poll(None, 0)) == {"a": "two"}
    assert store.renew("a", second, "three", 30.0)


def test_a_record_ends_with_its_lease(stores: Stores, lease: float) -> None:
    store, move = stores
    store.register("alive", "two", 3600.0)
    known = store.poll(None, 0)
    assert known is not None
    token = store.register("dead", "one", lease)
    move(10.0 + 1.0)
    eventually(lambda: "dead" not in texts(store.poll(None, 0)))
    ended = store.poll(known.epoch, known.version)
    assert texts(ended) == {"alive": "two"}
    assert ended is not None
    assert ended.version >= known.version + 2, "both the registration and its end are changes"
    assert not store.renew("dead", token, "late", lease)


def test_a_renewal_extends_a_lease(stores: Stores) -> None:
    store, move = stores
    token = store.register("a", "one", 30.0)
    move(20.0)
    assert store.renew("a", token, "one", 30.0)
    move(20.0)
    assert texts(store.poll(None, 0)) == {"a": "one"}


def test_a_record_can_be_withdrawn_whatever_its_token_is(stores: Stores) -> None:
    store, _ = stores
    store.register("a", "one", 30.0)
    store.register("b", "two", 30.0)
    known = store.poll(None, 0)
    assert known is not None
    store.withdraw("a", None)
    store.withdraw("unknown", None)
    assert texts(store.poll(known.epoch, known.version)) == {"b": "two"}


def test_a_store_says_whether_it_holds_a_record(stores: Stores) -> None:
    store, _ = stores
    assert not store.holds("a", 1)
    first = store.register("a", "one", 30.0)
    assert store.holds("a", first)
    second = store.register("a", "two", 30.0)
    assert (store.holds("a", first), store.holds("a", second)) == (False, True)
    assert not store.holds("b", second)
    store.withdraw("a", second)
    assert not store.holds("a", second)
