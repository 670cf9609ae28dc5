from __future__ import annotations

from portal.serving.bounds.disk import DiskBudget


def test_a_client_has_half() -> None:
    budget = DiskBudget(10)
    assert budget.reserve("a", 5)
    assert not budget.reserve("a", 1)
    assert budget.reserve("b", 5)
    assert not budget.reserve("c", 1)
    assert (budget.used, budget.refused) == (10, 2)
    budget.release("a", 5)
    assert budget.reserve("a", 5)


def test_a_proxy_has_all() -> None:
    budget = DiskBudget(10)
    assert budget.reserve(None, 10)
    assert not budget.reserve(None, 1)
    budget.release(None, 10)
    assert budget.used == 0


def test_the_only_byte_is_for_anybody() -> None:
    assert DiskBudget(1).reserve("a", 1)
