from __future__ import annotations

from portal.resilience.keyed import KeyedState


def test_a_state_is_made_once_for_each_key() -> None:
    states: KeyedState[list[int]] = KeyedState(list, 10)
    states.get("a").append(1)
    assert states.get("a") == [1]
    assert states.get("b") == []
    assert states.items() == [("a", [1]), ("b", [])]
    assert states.find("c") is None
    assert states.find("a") == [1]
    states.clear()
    assert states.items() == []


def test_the_least_recently_used_idle_state_is_removed() -> None:
    states: KeyedState[list[int]] = KeyedState(list, 3, lambda state: not state)
    states.get("busy").append(1)
    states.get("b")
    states.get("c")
    states.get("b")
    states.get("d")
    assert [key for key, _ in states.items()] == ["busy", "b", "d"]


def test_the_oldest_is_removed_where_none_is_idle() -> None:
    states: KeyedState[list[int]] = KeyedState(list, 2, lambda state: False)
    for key in "abc":
        states.get(key)
    assert [key for key, _ in states.items()] == ["b", "c"]
