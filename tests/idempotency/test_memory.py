"""Outcomes in this process."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.idempotency.memory import MemoryOutcomes
from portal.idempotency.store import MARKER_SIZE, Bounds, Claim, Found, StoreFull
from tests.support.clocks import Clock

BOUNDS = Bounds(4, 1000, 2, 500)


def claim_of(number: int, client: str = "c") -> Claim:
    return Claim(f"k{number}", "d" * 64, "token", client)


def test_an_outcome_is_removed_after_its_window() -> None:
    clock = Clock()
    store = MemoryOutcomes(60.0, BOUNDS, clock)
    assert store.claim(claim_of(1)) is None
    store.record(claim_of(1), "outcome")
    clock.now += 59
    assert store.claim(claim_of(1)) == Found("d" * 64, "outcome")
    clock.now += 2
    assert store.claim(claim_of(1)) is None
    assert len(store) == 1


def test_a_child_process_keeps_the_claims_of_its_thread() -> None:
    store = MemoryOutcomes(60.0, BOUNDS, Clock())
    assert store.claim(claim_of(1)) is None
    store.after_fork()
    assert store.claim(claim_of(1)) == Found("d" * 64, None)


def test_a_child_process_frees_the_share_of_the_claims_that_it_drops() -> None:
    store = MemoryOutcomes(60.0, BOUNDS, Clock())
    thread = threading.Thread(target=lambda: [store.claim(claim_of(number)) for number in range(2)])
    thread.start()
    thread.join()
    with pytest.raises(StoreFull):
        store.claim(claim_of(3))
    store.after_fork()
    assert (len(store), store.size) == (0, 0)
    assert [store.claim(claim_of(number)) for number in range(2)] == [None, None]


def test_all_clients_together_fill_the_store() -> None:
    clock = Clock()
    store = MemoryOutcomes(60.0, BOUNDS, clock)
    for number, client in enumerate("aabb"):
        assert store.claim(claim_of(number, client)) is None
        store.record(claim_of(number, client), "outcome")
        clock.now += 1
    with pytest.raises(StoreFull) as caught:
        store.claim(claim_of(9, "c"))
    assert (caught.value.own, caught.value.retry_after) == (False, pytest.approx(56))
    clock.now += 56.5
    assert store.claim(claim_of(9, "c")) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.integers(0, 600), st.integers(0, 30))))
def test_the_bounds_hold_and_nothing_is_removed_early(history: list[tuple[int, str, int, int]]) -> None:
    clock = Clock()
    store = MemoryOutcomes(60.0, BOUNDS, clock)
    kept: dict[str, float] = {}
    for number, client, size, pause in history:
        clock.now += pause
        kept = {key: until for key, until in kept.items() if until > clock.now}
        claim = claim_of(number, client)._replace(key=f"{client}{number}")
        try:
            found = store.claim(claim)
        except StoreFull:
            assert claim.key not in kept
            continue
        assert (found is not None) == (claim.key in kept)
        if found is None:
            store.record(claim, "x" * size)
            kept[claim.key] = clock.now + 60
        assert len(store) == len(kept) <= BOUNDS.entries
        assert store.size <= BOUNDS.size
        assert max(sum(key[0] == one for key in kept) for one in "abc") <= BOUNDS.client_entries
    clock.now += 61
    assert store.claim(claim_of(1)) is None
    assert (len(store), store.size) == (1, MARKER_SIZE)
