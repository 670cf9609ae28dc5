"""ByteBudget and Places."""

from __future__ import annotations

from portal.serving.bounds.budget import ByteBudget, Places


def test_a_budget_reserves_up_to_its_limit() -> None:
    budget = ByteBudget(10)
    assert [budget.reserve(6), budget.reserve(5), budget.reserve(4)] == [True, False, True]
    assert budget.used == 10
    budget.release(6)
    assert budget.reserve(5)
    assert budget.used == 9


def test_bytes_that_exist_already_are_counted_above_the_limit() -> None:
    budget = ByteBudget(10)
    budget.add(6)
    assert not budget.is_exceeded
    budget.add(5)
    assert budget.is_exceeded
    assert budget.used == 11
    assert not budget.reserve(1)


def test_places_are_given_back() -> None:
    places = Places(2)
    assert [places.take(), places.take(), places.take()] == [True, True, False]
    assert (places.taken, places.rejected) == (2, 1)
    places.leave()
    assert places.take()
    assert (places.taken, places.rejected) == (2, 1)
