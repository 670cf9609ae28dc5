"""MemoryStore: one store for each name."""

from __future__ import annotations

from portal.directory.memory import memory_store


def test_a_name_stands_for_one_store() -> None:
    assert memory_store("test-a") is memory_store("test-a")
    assert memory_store("test-a") is not memory_store("test-b")
    assert memory_store("test-a").restricted
