"""What every store of outcomes does: in this process, and on a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from portal._internal.redis_client import StoreClient
from portal.idempotency.memory import MemoryOutcomes
from portal.idempotency.shared import SharedOutcomes
from portal.idempotency.store import Claim, Found, OutcomeStore
from tests.support.clocks import Clock

CLAIM = Claim("k", "d" * 64, "token")
LATER = CLAIM._replace(token="later")


@pytest.fixture(params=["memory", "store"])
def store(request: pytest.FixtureRequest, close: Callable[[Any], Any]) -> OutcomeStore:
    """Return an empty store of each kind."""
    clock = Clock()
    if request.param == "memory":
        return MemoryOutcomes(60.0, 10, 1000, clock)
    link = StoreClient(request.getfixturevalue("url"), path="store", clock=clock)
    found: OutcomeStore = close(SharedOutcomes(link, 60.0, 30.0, "p", 1000, clock))
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
