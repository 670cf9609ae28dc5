from __future__ import annotations

import json
import math
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.address import Address
from portal.cache.response_cache import (
    Key,
    ResponseCache,
    key_of,
)
from portal.context import CallContext
from portal.errors import ConfigError
from tests.support.clocks import Clock

WAIT = 10.0
ADDRESS = "http://a:1/api/f"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


class Joining(CallContext):
    """A context that sets `joined` when a call waits with it."""

    __slots__ = ("joined",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.joined = threading.Event()

    def on_cancel(self, callback: Callable[[], object]) -> None:
        super().on_cancel(callback)
        self.joined.set()


def key(n: int = 0, address: str = ADDRESS) -> Key:
    made = key_of(address, {"n": n})
    assert made is not None
    return made


# keys


def test_the_order_of_parameters_does_not_matter() -> None:
    assert key_of(ADDRESS, {"a": 1, "b": [1, {"x": 1, "y": 2}]}) == key_of(
        ADDRESS, {"b": [1, {"y": 2, "x": 1}], "a": 1}
    )
    assert key_of(Address.parse(ADDRESS), {}) == key_of(ADDRESS, {})


@given(st.dictionaries(st.text(), JSON, max_size=3), st.dictionaries(st.text(), JSON, max_size=3))
def test_different_parameters_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # 1, 1.0 and True are different here
    first = key_of(ADDRESS, one)
    assert (first == key_of(ADDRESS, other)) is (same or first is None)


def test_different_addresses_and_scopes_have_different_keys() -> None:
    keys = {key_of(ADDRESS, {}), key_of("http://a:2/api/f", {}), key_of(ADDRESS, {}, "ann"), key_of(ADDRESS, {}, "bob")}
    assert len(keys) == 4


@pytest.mark.parametrize("value", [math.nan, {1}, (1, 2), b"", {1: 2}, object(), "\ud800"])
def test_parameters_that_are_not_json_have_no_key(value: Any) -> None:
    assert key_of(ADDRESS, {"value": value}) is None


# the store


@given(JSON)
def test_each_lookup_returns_an_equal_copy(value: Any) -> None:
    cache = ResponseCache()
    if not cache.store(key(), value, max_age=10):
        assert "\\ud8" in json.dumps(value) or "\\ud" in json.dumps(value)
        return
    first, second = cache.lookup(key()), cache.lookup(key())
    assert first is not None
    assert second is not None
    assert first.value == second.value == value
    if isinstance(value, list | dict):
        assert first.value is not second.value


def test_callers_do_not_share_values() -> None:
    cache = ResponseCache()
    value = {"rows": [1, 2]}
    cache.store(key(), value, max_age=10)
    value["rows"].append(3)
    entry = cache.lookup(key())
    assert entry is not None
    entry.value["rows"].clear()
    assert entry.value == {"rows": [1, 2]}


def test_an_entry_is_fresh_then_stale_or_removed() -> None:
    clock = Clock()
    cache = ResponseCache(clock=clock)
    assert cache.lookup(key()) is None
    assert cache.store(key(1), "tagged", '"a"', 10.0)
    assert cache.store(key(2), "plain", None, 10.0)
    clock.now += 9.9
    for n in (1, 2):
        entry = cache.lookup(key(n))
        assert entry is not None
        assert cache.is_fresh(entry)
    clock.now += 0.1
    stale = cache.lookup(key(1))
    assert stale is not None
    assert not cache.is_fresh(stale)
    assert (stale.etag, stale.value) == ('"a"', "tagged")
    assert cache.lookup(key(2)) is None
    assert cache.stats()["entries"] == 1
    fresh = cache.refresh(key(1), 5.0)
    assert fresh is not None
    assert cache.is_fresh(fresh)
    assert cache.lookup(key(1)) == fresh
    assert cache.refresh(key(2), 5.0) is None
    stats = cache.stats()
    assert (stats["fresh"], stats["stale"], stats["missed"]) == (3, 1, 2)


@pytest.mark.parametrize(
    ("etag", "age", "default", "kept", "fresh"),
    [
        (None, None, 0.0, False, False),
        (None, 0.0, 60.0, False, False),
        (None, -1.0, 60.0, False, False),
        (None, math.nan, 60.0, False, False),
        (None, None, 60.0, True, True),
        (None, 5.0, 0.0, True, True),
        ('"a"', None, 0.0, True, False),
        ('"a"', 0.0, 60.0, True, False),
        ('"a"', math.inf, 0.0, True, True),
    ],
)
def test_a_response_that_is_neither_fresh_nor_tagged_is_not_kept(
    etag: str | None, age: float | None, default: float, kept: bool, fresh: bool
) -> None:
    cache = ResponseCache(default_age=default, clock=Clock())
    assert cache.store(key(), "old", '"old"', 5.0)
    assert cache.store(key(), "new", etag, age) is kept
    entry = cache.lookup(key())
    assert (entry is not None) is kept
    if entry is not None:
        assert entry.value == "new"
        assert cache.is_fresh(entry) is fresh


@pytest.mark.parametrize("value", [math.nan, {1, 2}, object()])
def test_a_value_that_is_not_json_is_not_kept(value: Any) -> None:
    cache = ResponseCache()
    assert not cache.store(key(), value, max_age=10)
    circle: list[Any] = []
    circle.append(circle)
    assert not cache.store(key(), circle, max_age=10)
    assert cache.stats()["entries"] == 0


def test_the_number_of_entries_is_limited() -> None:
    cache = ResponseCache(max_entries=3)
    for n in range(3):
        cache.store(key(n), n, max_age=10)
    assert cache.lookup(key(0)) is not None  # the most recently used entry stays
    cache.store(key(3), 3, max_age=10)
    assert [n for n in range(4) if cache.lookup(key(n)) is not None] == [0, 2, 3]


def test_the_memory_is_limited() -> None:
    cache = ResponseCache(max_bytes=50_000)
    text = "\N{GREEK SMALL LETTER ALPHA}" * 4000
    for n in range(20):
        assert cache.store(key(n), text, max_age=10)
    stats = cache.stats()
    assert 4 <= stats["entries"] <= 6
    assert stats["entries"] * sys.getsizeof(text) < stats["bytes"] <= 50_000
    assert cache.store(key(1), "small", max_age=10)
    assert not cache.store(key(1), "x" * 60_000, max_age=10)
    assert cache.lookup(key(1)) is None  # the previous entry is removed as well


def test_invalidate_removes_the_entries_of_an_address_or_all() -> None:
    cache = ResponseCache()
    other = "http://b:1/api/f"
    for n in range(3):
        cache.store(key(n), n, max_age=10)
    cache.store(key(0, other), 0, max_age=10)
    assert cache.invalidate(Address.parse(ADDRESS)) == 3
    assert cache.lookup(key(0)) is None
    assert cache.lookup(key(0, other)) is not None
    assert cache.invalidate() == 1
    assert cache.invalidate() == 0


def test_invalidate_removes_the_entries_of_one_call_for_every_scope() -> None:
    cache = ResponseCache()
    for scope in ("ann", "bob"):
        for n in range(2):
            made = key_of(ADDRESS, {"n": n, "m": 0}, scope)
            assert made is not None
            cache.store(made, n, max_age=10)
    assert cache.invalidate(ADDRESS, {"m": 0, "n": 1}) == 2
    assert cache.stats()["entries"] == 2
    with pytest.raises(ConfigError, match=r"invalidate\.params must be given together with an address"):
        cache.invalidate(params={"n": 1})
    with pytest.raises(ConfigError, match=r"invalidate\.params must be JSON data"):
        cache.invalidate(ADDRESS, {"n": object()})


def test_invalidate_removes_the_entries_of_functions_with_a_tag() -> None:
    cache = ResponseCache(max_entries=3)
    other = "http://b:1/api/f"
    cache.store(key(0), 0, max_age=10, tags=("prices", "public"))
    cache.store(key(0, other), 0, max_age=10, tags=("prices",))
    cache.store(key(1), 1, max_age=10)
    assert cache.invalidate(tag="stock") == 0
    cache.store(key(2), 2, max_age=10)
    assert cache.lookup(key(0)) is None, "looking for a tag does not make an entry recently used"
    assert cache.invalidate(other, tag="public") == 0
    assert cache.invalidate(tag="prices") == 1
    assert cache.lookup(key(1)) is not None


def test_a_response_to_a_request_from_before_an_invalidate_is_not_kept() -> None:
    cache = ResponseCache()
    epoch = cache.epoch
    cache.invalidate(ADDRESS)
    assert not cache.store(key(), "old", max_age=10, epoch=epoch)
    assert cache.lookup(key()) is None
    assert cache.store(key(), "new", max_age=10, epoch=cache.epoch)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"max_entries": 0}, "cache.max_entries"),
        ({"max_entries": True}, "cache.max_entries"),
        ({"max_bytes": 1.5}, "cache.max_bytes"),
        ({"default_age": -1}, "cache.default_age"),
        ({"default_age": math.inf}, "cache.default_age"),
        ({"default_age": "1"}, "cache.default_age"),
    ],
)
def test_wrong_settings_are_rejected(options: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ResponseCache(**options)
    assert caught.value.path == path
    assert caught.value.expected


# concurrent calls


def test_concurrent_calls_of_a_key_share_one_call_until_it_is_invalidated() -> None:
    cache, inside, go = ResponseCache(), threading.Event(), threading.Event()

    def old() -> str:
        inside.set()
        assert go.wait(WAIT)
        return "old"

    def fail() -> str:
        raise AssertionError("the follower must not make the call")

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(cache.once, key(), CallContext(), "f", old)
        assert inside.wait(WAIT)
        joined = Joining()
        follower = pool.submit(cache.once, key(), joined, "f", fail)
        assert joined.joined.wait(WAIT)
        cache.invalidate("http://elsewhere:1/f")
        assert cache.stats()["flights"] == 1
        cache.invalidate(ADDRESS)
        assert cache.stats()["flights"] == 0
        assert cache.once(key(), CallContext.for_call(WAIT), "f", lambda: "new") == "new"
        go.set()
        assert leader.result(WAIT) == follower.result(WAIT) == "old"
