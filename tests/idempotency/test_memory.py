"""Outcomes in this process."""

from __future__ import annotations

from portal.idempotency.memory import MemoryOutcomes
from portal.idempotency.store import Claim, Found
from tests.support.clocks import Clock


def claim_of(number: int) -> Claim:
    return Claim(f"k{number}", "d" * 64, "token")


def test_an_outcome_is_removed_after_its_window() -> None:
    clock = Clock()
    store = MemoryOutcomes(60.0, 10, 1000, clock)
    assert store.claim(claim_of(1)) is None
    store.record(claim_of(1), "outcome")
    clock.now += 59
    assert store.claim(claim_of(1)) == Found("d" * 64, "outcome")
    clock.now += 2
    assert store.claim(claim_of(1)) is None
    assert len(store) == 1


def test_a_child_process_keeps_the_claims_of_its_thread() -> None:
    store = MemoryOutcomes(60.0, 10, 1000, Clock())
    assert store.claim(claim_of(1)) is None
    store.after_fork()
    assert store.claim(claim_of(1)) == Found("d" * 64, None)
