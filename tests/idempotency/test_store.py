"""What every store of outcomes does: in this process, and on a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from portal._internal.redis_client import StoreClient
from portal.idempotency.memory import MemoryOutcomes
from portal.idempotency.shared import SharedOutcomes
from portal.idempotency.store import NO_ROOM, Bounds, Claim, Found, OutcomeStore, StoreFull
from tests.support.clocks import Clock

BOUNDS = Bounds(10, 1000, 3, 300)
CLAIM = Claim("k", "d" * 64, "token", "c")
LATER = CLAIM._replace(token="later")


@pytest.fixture(params=["memory", "store"])
def store(request: pytest.FixtureRequest, close: Callable[[Any], Any]) -> OutcomeStore:
    """Return an empty store of each kind."""
    clock = Clock()
    if request.param == "memory":
        return MemoryOutcomes(60.0, BOUNDS, clock)
    link = StoreClient(request.getfixturevalue("url"), path="store", clock=clock)
    found: OutcomeStore = close(SharedOutcomes(link, 60.0, 30.0, "p", BOUNDS, clock))
    return found


def test_the_first_claim_is_found_until_its_outcome_is(store: OutcomeStore) -> None:
    assert store.claim(CLAIM) is None
    assert store.claim(LATER) == Found(CLAIM.digest, None)
    store.record(CLAIM, "outcome")
    assert store.claim(LATER) == Found(CLAIM.digest, "outcome")


def test_a_claim_that_is_dropped_is_free(store: OutcomeStore) -> None:
    assert store.claim(CLAIM) is None
    store.drop(CLAIM)
    assert store.claim(LATER) is None


def test_a_waiter_is_woken_if_the_store_says_that_it_notifies(store: OutcomeStore) -> None:
    woken = threading.Event()
    assert store.claim(CLAIM) is None
    store.watch(CLAIM.key, woken)
    assert not woken.is_set()
    store.record(CLAIM, "outcome")
    assert woken.is_set() == store.notifies


def test_a_client_that_has_used_up_its_share_gets_no_new_claim(store: OutcomeStore) -> None:
    mine = [CLAIM._replace(key=f"k{number}") for number in range(4)]
    for claim in mine[:3]:
        assert store.claim(claim) is None
        store.record(claim, "outcome")
    for _ in range(2):
        with pytest.raises(StoreFull) as caught:
            store.claim(mine[3])
        assert caught.value.own
        assert 55 < caught.value.retry_after <= 60
    assert [store.claim(claim) for claim in mine[:3]] == [Found(CLAIM.digest, "outcome")] * 3
    assert store.claim(mine[3]._replace(client="other")) is None


def test_an_outcome_without_room_is_kept_as_the_fact_of_its_call(store: OutcomeStore) -> None:
    assert store.claim(CLAIM) is None
    store.record(CLAIM, "x" * 301)
    assert store.claim(LATER) == Found(CLAIM.digest, NO_ROOM)


def test_a_dropped_claim_leaves_the_share(store: OutcomeStore) -> None:
    for _ in range(10):
        assert store.claim(CLAIM) is None
        store.drop(CLAIM)
