from __future__ import annotations

from portal.javascript.engines.wasm.images import Handles, ImageCache, Loaded
from portal.javascript.engines.wasm.instance import Image


def loaded(size: int) -> Loaded:
    return Loaded(Image(bytes(size), 7), Handles(1, 2, 3, 4, {}), 5)


def test_the_states_used_last_are_kept() -> None:
    cache = ImageCache(max_bytes=300, max_item=200)
    first, second, third = (loaded(100) for _ in range(3))
    for key, one in (("a", first), ("b", second), ("c", third)):
        cache.put(key, one)
    assert cache.get("a") is first
    cache.put("d", loaded(100))
    assert cache.get("b") is None
    assert cache.get("a") is first
    assert cache.get("c") is third


def test_a_large_state_is_not_kept() -> None:
    cache = ImageCache(max_bytes=300, max_item=200)
    cache.put("a", loaded(100))
    cache.put("b", loaded(201))
    assert cache.get("b") is None
    assert cache.get("a") is not None


def test_a_state_is_replaced() -> None:
    cache = ImageCache(max_bytes=300, max_item=200)
    for size in (200, 100, 200):
        cache.put("a", loaded(size))
    cache.put("b", loaded(100))
    assert cache.get("a") is not None
    assert cache.get("b") is not None
