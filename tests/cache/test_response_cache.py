from __future__ import annotations

import json
import math
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.address import Address
from portal.cache.response_cache import (
    Freshness,
    Key,
    ResponseCache,
    freshness,
    key_of,
    parse_cache_control,
)
from portal.calls.singleflight import SingleFlight
from portal.context import CallContext
from portal.errors import CallCancelled, CallTimeout, ConfigError, FunctionError, TransportError
from tests.support.clocks import Clock

WAIT = 10.0
ADDRESS = "http://a:1/api/f"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


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


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


class Maker:
    """Returns or raises its outcome once `go` is set."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.made = 0
        self.inside = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> Any:
        self.made += 1
        self.inside.set()
        assert self.go.wait(WAIT)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class Joining(CallContext):
    """A context that sets `joined` when a call waits with it."""

    __slots__ = ("joined",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.joined = threading.Event()

    def on_cancel(self, callback: Callable[[], object]) -> None:
        super().on_cancel(callback)
        self.joined.set()


def lead_and_follow(
    pool: ThreadPoolExecutor,
    cache: ResponseCache,
    maker: Maker,
    followers: int,
    follow: Callable[[], Any] | None = None,
) -> tuple[Any, list[Any], list[Joining]]:
    """Start a call and others that wait for it; return both and the contexts of the waiters."""
    leader = pool.submit(cache.once, key(), CallContext(), "f", maker)
    assert maker.inside.wait(WAIT)
    contexts = [Joining() for _ in range(followers)]
    others = [pool.submit(cache.once, key(), context, "f", follow or maker) for context in contexts]
    for context in contexts:
        assert context.joined.wait(WAIT)
    return leader, others, contexts


def test_concurrent_calls_share_one_call(pool: ThreadPoolExecutor) -> None:
    cache = ResponseCache()
    maker = Maker({"rows": [1]})
    leader, others, _ = lead_and_follow(pool, cache, maker, 8)
    assert cache.stats()["flights"] == 1
    maker.go.set()
    values = [one.result(WAIT) for one in [leader, *others]]
    assert values == [{"rows": [1]}] * 9
    assert len({id(value["rows"]) for value in values}) == 9
    assert maker.made == 1
    assert cache.stats()["flights"] == 0
    assert cache.once(key(), CallContext(), "f", maker) == {"rows": [1]}
    assert maker.made == 2  # the result of a flight is not kept


def test_waiters_share_a_failure_and_later_calls_do_not(pool: ThreadPoolExecutor) -> None:
    cache = ResponseCache()
    error = TransportError("gone", delivery="not_sent", context={"request_id": "leader"})
    maker = Maker(error)
    leader, others, contexts = lead_and_follow(pool, cache, maker, 3)
    maker.go.set()
    assert leader.exception(WAIT) is error
    for one, context in zip(others, contexts, strict=True):
        shared = one.exception(WAIT)
        assert isinstance(shared, TransportError)
        assert shared is not error
        assert str(shared) == "gone"
        assert not shared.may_have_executed
        assert shared.request_id == context.request_id
    assert error.request_id == "leader"
    assert maker.made == 1
    assert cache.once(key(), CallContext(), "f", lambda: "works again") == "works again"


@pytest.mark.parametrize("error", [CallTimeout("mine"), CallCancelled("mine"), KeyError("a defect"), SystemExit()])
def test_waiters_do_not_share_the_leaders_timeout_cancellation_or_defect(
    pool: ThreadPoolExecutor, error: BaseException
) -> None:
    cache = ResponseCache()
    maker = Maker(error)
    second = Maker("second")
    second.go.set()
    leader, others, _ = lead_and_follow(pool, cache, maker, 4, second)
    maker.go.set()
    assert leader.exception(WAIT) is error
    assert [one.result(WAIT) for one in others] == ["second"] * 4
    assert maker.made == 1
    assert 1 <= second.made <= 4


def test_a_waiter_stops_at_its_deadline(pool: ThreadPoolExecutor) -> None:
    cache = ResponseCache()
    maker = Maker(1)
    leader, _, _ = lead_and_follow(pool, cache, maker, 0)
    context = CallContext.for_call(0.02)
    with pytest.raises(CallTimeout, match="f did not respond") as caught:
        cache.once(key(), context, "f", maker)
    assert caught.value.request_id == context.request_id
    assert context.cancelled
    maker.go.set()
    assert leader.result(WAIT) == 1


def test_a_waiter_can_be_cancelled(pool: ThreadPoolExecutor) -> None:
    cache = ResponseCache()
    maker = Maker(1)
    leader, others, contexts = lead_and_follow(pool, cache, maker, 2)
    contexts[0].cancel()
    assert isinstance(others[0].exception(WAIT), CallCancelled)
    maker.go.set()
    assert leader.result(WAIT) == others[1].result(WAIT) == 1


def test_a_nested_call_with_the_same_key_does_not_wait_for_its_caller() -> None:
    cache = ResponseCache()
    made: list[str] = []

    def outer() -> Any:
        made.append("outer")
        return [cache.once(key(), CallContext(), "f", lambda: "inner")]

    assert cache.once(key(), CallContext(), "f", outer) == ["inner"]
    assert made == ["outer"]


def test_a_new_call_does_not_join_a_call_from_before_an_invalidate(pool: ThreadPoolExecutor) -> None:
    cache = ResponseCache()
    old = Maker("old")
    leader, others, _ = lead_and_follow(pool, cache, old, 1)
    cache.invalidate("http://elsewhere:1/f")
    assert cache.stats()["flights"] == 1
    cache.invalidate(ADDRESS)
    assert cache.once(key(), CallContext.for_call(WAIT), "f", lambda: "new") == "new"
    flight, leads = cache.lead(key())
    assert leads
    old.go.set()
    assert leader.result(WAIT) == others[0].result(WAIT) == "old"
    assert cache.stats()["flights"] == 1  # the end of the old flight did not remove the new one
    flight.fail(FunctionError("f"))
    assert cache.stats()["flights"] == 0


def test_calls_with_other_keys_do_not_wait(pool: ThreadPoolExecutor) -> None:
    flights: SingleFlight[str] = SingleFlight()
    maker = Maker(1)
    leader = pool.submit(flights.once, "a", CallContext(), "f", maker)
    assert maker.inside.wait(WAIT)
    assert flights.once("b", CallContext(), "f", lambda: 2) == 2
    maker.go.set()
    assert leader.result(WAIT) == 1
    assert len(flights) == 0


# directives


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("", {}),
        ("no-store", {"no-store": None}),
        ("Max-Age=60, MUST-revalidate", {"max-age": "60", "must-revalidate": None}),
        ('max-age="60"', {"max-age": "60"}),
        ('private="set-cookie, x", max-age=5', {"private": "set-cookie, x", "max-age": "5"}),
        (r'x="a\"b\\c"', {"x": 'a"b\\c'}),
        ('x=""', {"x": ""}),
        ("max-age=", {"max-age": ""}),
        (" , ,max-age=1\t,,", {"max-age": "1"}),
        ("max-age=1, max-age=2", {"max-age": "1"}),
        ("max-age = 1, no-cache", {"no-cache": None}),
        ('bad="open, no-cache', {"no-cache": None}),
        ("b@d, no-cache", {"no-cache": None}),
        ("b@d", {}),
        ("x" * 5000, {"no-store": None}),
    ],
)
def test_parse_cache_control(text: str, directives: dict[str, str | None]) -> None:
    assert parse_cache_control(text) == directives


@given(st.text(alphabet='a=",\\ @1\t', max_size=60))
def test_parse_cache_control_accepts_any_text(text: str) -> None:
    for name in parse_cache_control(text):
        assert name == name.lower()
        assert name


NOW = 1_700_000_000.0


def date(seconds: float) -> str:
    return formatdate(NOW + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Freshness(None, True)),
        ({"cache-control": "private"}, Freshness(None, True)),
        ({"cache-control": "private, max-age=60"}, Freshness(60.0, True)),
        ({"cache-control": "max-age=60, must-revalidate"}, Freshness(60.0, True)),
        ({"cache-control": "max-age=60, s-maxage=5"}, Freshness(60.0, True)),
        ({"cache-control": "s-maxage=5"}, Freshness(None, True)),
        ({"cache-control": "max-age=60", "age": "50"}, Freshness(10.0, True)),
        ({"cache-control": "max-age=60", "age": "70"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=60", "age": "old"}, Freshness(60.0, True)),
        ({"cache-control": "max-age=60", "expires": date(5)}, Freshness(60.0, True)),
        ({"cache-control": "max-age=0"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=-5"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=1.5"}, Freshness(0.0, True)),
        ({"cache-control": "max-age"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=\u0665"}, Freshness(None, True)),
        ({"cache-control": "max-age=00000000000060"}, Freshness(60.0, True)),
        ({"cache-control": "max-age=000"}, Freshness(0.0, True)),
        ({"cache-control": "max-age=" + "9" * 500}, Freshness(2.0**31, True)),
        ({"cache-control": "max-age=9999999999"}, Freshness(2.0**31, True)),
        ({"cache-control": "no-cache, max-age=60"}, Freshness(0.0, True)),
        ({"cache-control": 'no-cache="x"'}, Freshness(0.0, True)),
        ({"cache-control": "no-store, max-age=60"}, Freshness(0.0, False)),
        ({"cache-control": "max-age=60", "vary": "*"}, Freshness(0.0, False)),
        ({"cache-control": "max-age=60", "vary": "accept"}, Freshness(60.0, True)),
        ({"expires": date(30), "date": date(-10)}, Freshness(40.0, True)),
        ({"expires": date(30)}, Freshness(30.0, True)),
        ({"expires": date(30), "date": "yesterday"}, Freshness(30.0, True)),
        ({"expires": date(30).replace("GMT", "-0000")}, Freshness(30.0, True)),
        ({"expires": date(-30)}, Freshness(0.0, True)),
        ({"expires": date(30), "age": "10"}, Freshness(20.0, True)),
        ({"expires": "0"}, Freshness(0.0, True)),
        ({"expires": ""}, Freshness(0.0, True)),
        ({"expires": "Fri, 31 Dec 9999 23:59:59 GMT"}, Freshness(2.0**31, True)),
    ],
)
def test_freshness(headers: dict[str, str], expected: Freshness) -> None:
    assert freshness(headers, clock=lambda: NOW) == expected


@given(st.text(max_size=40))
def test_freshness_accepts_any_date(text: str) -> None:
    seconds, store = freshness({"expires": text})
    assert store
    assert seconds is not None
    assert seconds >= 0
