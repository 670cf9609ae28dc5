"""FunctionCache: what a Consumer keeps of the functions it calls, and when it looks again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal import Address, CallTimeout, Consumer, HTTPPortal, LocalPortal, RegistryError, WebSocketPortal, function
from portal.consumer import function_cache
from portal.consumer.pending import PendingFunction
from tests.support.waiting import eventually


def add(a: float, b: float) -> float:
    return a + b


def test_a_cached_local_function_follows_every_change() -> None:
    def add(a: float, b: float) -> float:
        return a + b

    older = function(add)
    newer = function(add)
    newer.target = lambda a, b: -a - b
    with LocalPortal() as first, Consumer() as consumer:
        first.apply(older)
        resolved = consumer.resolve("local://add")
        for _ in range(3):
            assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        with LocalPortal() as second:
            second.apply(newer)
            assert consumer.call_at("local://add", {"a": 1, "b": 2}) == -3.0  # the newest portal answers
            assert resolved(a=1.0, b=2.0) == 3.0  # a resolved function stays where it was
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        first.remove("local://add")
        with pytest.raises(RegistryError):
            consumer.call_at("local://add", {"a": 1, "b": 2})
        with pytest.raises(RegistryError):
            resolved(a=1.0, b=2.0)
        first.apply(newer)
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == -3.0
        assert resolved(a=1.0, b=2.0) == -3.0


def test_an_address_and_its_text_share_one_entry(local: LocalPortal) -> None:
    with Consumer([local]) as consumer:
        assert consumer.call_at(Address.parse("local://add"), {"a": 1, "b": 2}) == 3.0
        cached = consumer._functions.local
        assert list(cached) == ["local://add"]
        entry = cached["local://add"]
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        assert consumer._functions.local is cached
        assert cached["local://add"] is entry


def test_a_remote_function_is_resolved_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(function_cache, "monotonic", lambda: now[0])
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)

        def is_cached() -> bool:
            found, is_remote = consumer._functions.find(address, str(address))
            assert is_remote
            return not isinstance(found, PendingFunction)

        assert not is_cached()
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        now[0] += 59.0
        assert is_cached()
        now[0] += 2.0
        assert not is_cached()
        pending, _ = consumer._functions.find(address, str(address))
        assert pending.schema.input["required"] == ["a", "b"]  # the last known schema
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        assert is_cached()


def test_a_remote_function_that_is_gone_is_forgotten() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        http.remove(address)
        with pytest.raises(RegistryError):
            consumer.call_at(address, {"a": 1, "b": 2})
        assert isinstance(consumer._functions.find(address, str(address))[0], PendingFunction)
        http.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0


@pytest.mark.parametrize("portal_class", [HTTPPortal, WebSocketPortal])
@pytest.mark.parametrize("way", ["call_at", "stream_at", "notify_at", "call"])
def test_each_way_of_a_call_forgets_what_is_gone(portal_class: type[HTTPPortal | WebSocketPortal], way: str) -> None:
    def count(a: int) -> Iterator[int]:
        yield a

    def same(a: int) -> int:
        return a

    with portal_class() as portal, Consumer() as consumer:
        address = portal.apply(count if way == "stream_at" else same)
        odd = f"{str(address).split(':')[0].upper()}:{str(address).partition(':')[2]}"  # not in normal form

        def make() -> None:
            if way == "stream_at":
                assert list(consumer.stream_at(odd, {"a": 1})) == [1]
            elif way == "notify_at":
                consumer.notify_at(odd, {"a": 1})
            elif way == "call":
                assert consumer.call([odd], {"a": 1}) == 1
            else:
                assert consumer.call_at(odd, {"a": 1}) == 1

        make()
        eventually(lambda: len(consumer._functions._remote) == 1)
        portal.remove(address)
        if way == "notify_at":
            make()
        else:
            with pytest.raises(RegistryError):
                make()
        eventually(lambda: not consumer._functions._remote)


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch, local: LocalPortal) -> None:
    monkeypatch.setattr(function_cache, "_MAX_ENTRIES", 2)
    params: dict[str, Any] = {"a": 1, "b": 2}
    with HTTPPortal() as http, Consumer() as consumer:
        address = str(http.apply(add))
        for number in range(5):
            assert consumer.call_at(f"local://add?n={number}", params) == 3.0
            assert consumer.call_at(f"{address}?n={number}", params) == 3.0
            assert len(consumer._functions.local) <= 2
            assert len(consumer._functions._remote) <= 2


def test_the_schemas_in_the_cache_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = str(http.apply(add))
        kept = consumer._functions._remote
        for number in range(5):
            assert consumer.call_at(f"{address}?n={number}", {"a": 1, "b": 2}) == 3.0
            if number == 0:
                monkeypatch.setattr(function_cache, "_MAX_SCHEMAS", 2 * kept.size)
        assert [text[-1] for text in kept] == ["3", "4"]  # the oldest gave way
        assert kept.size == sum(one.size for one in kept.values())
        monkeypatch.setattr(function_cache, "_MAX_SCHEMAS", 10)
        assert consumer.call_at(f"{address}?n=5", {"a": 1, "b": 2}) == 3.0
        assert [text[-1] for text in kept] == ["5"]  # a larger one is kept alone
        consumer._functions.forget(f"{address}?n=5")
        assert (len(kept), kept.size) == (0, 0)


def test_a_new_resolver_empties_the_cache(local: LocalPortal) -> None:
    def add(a: float, b: float) -> float:
        return a * b

    with LocalPortal() as other, Consumer([local]) as consumer:
        other.apply(add)
        assert consumer.call_at("local://add", {"a": 3, "b": 4}) == 7.0
        consumer.register(other)
        assert consumer.call_at("local://add", {"a": 3, "b": 4}) == 12.0


# over the network


class Requests:
    """An HTTP middleware that keeps the methods of the requests."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.gate: threading.Event | None = None

    def __call__(self, request: Any, call_next: Any) -> Any:
        self.methods.append(request.method)
        if self.gate is not None and request.method == "GET":
            self.gate.wait(60)
        return call_next(request)


def ping() -> str:
    return "pong"


def test_threads_fetch_a_schema_once() -> None:
    requests = Requests()
    requests.gate = threading.Event()
    with HTTPPortal(http_middleware=[requests]) as portal, Consumer() as consumer:
        address = str(portal.apply(ping))
        waiting = consumer._functions._flights
        futures = [consumer.submit_at(address) for _ in range(8)]
        eventually(lambda: sum(flight.followers for flight in waiting._flights.values()) == 7)
        requests.gate.set()
        assert [future.result(60) for future in futures] == ["pong"] * 8
        assert requests.methods.count("GET") == 1


def test_a_call_that_waited_for_the_schema_until_its_deadline_was_not_sent() -> None:
    requests = Requests()
    requests.gate = threading.Event()
    with HTTPPortal(http_middleware=[requests]) as portal, Consumer() as consumer:
        address = str(portal.apply(ping))
        first = consumer.submit_at(address)
        eventually(lambda: requests.methods == ["GET"])
        with pytest.raises(CallTimeout) as caught:
            consumer.call_at(address, timeout=0.05)
        assert caught.value.delivery == "not_sent"
        requests.gate.set()
        assert first.result(60) == "pong"


def test_the_threads_share_the_error_of_the_schema() -> None:
    requests = Requests()
    requests.gate = threading.Event()
    with HTTPPortal(http_middleware=[requests]) as portal, Consumer() as consumer:
        address = str(portal.apply(ping)).replace("/ping/", "/pong/")
        waiting = consumer._functions._flights
        futures = [consumer.submit_at(address) for _ in range(4)]
        eventually(lambda: sum(flight.followers for flight in waiting._flights.values()) == 3)
        requests.gate.set()
        assert [type(future.exception(60)) for future in futures] == [RegistryError] * 4
        assert requests.methods == ["GET"]


def test_a_missing_function_is_not_asked_for_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_cache, "_MISSING_SECONDS", 1000.0)
    requests = Requests()
    with HTTPPortal(http_middleware=[requests]) as portal, Consumer() as consumer:
        address = f"{portal.base}/ping"
        errors = []
        for _ in range(3):
            with pytest.raises(RegistryError) as caught:
                consumer.call_at(address)
            errors.append(caught.value)
        assert requests.methods == ["GET"]
        assert len({error.request_id for error in errors}) == 3
        portal.apply(ping)
        assert consumer.call_at(address) == "pong", "something was published in this process"
