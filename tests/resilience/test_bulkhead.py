from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any

import pytest

from portal import Bulkhead, Consumer, HTTPPortal, OverloadedError, function
from portal.address import Address
from portal.calls.middleware import Call
from portal.context import CallContext

WAIT = 10.0


@function
def add(a: int, b: int) -> int:
    return a + b


@function
def count(n: int) -> Iterator[int]:
    yield from range(n)


def call_to(address: str, target: Any = add) -> Call:
    return Call(target, {}, CallContext(), Address.of(address), streaming=bool(target.schema.streaming))


def test_services_do_not_share_places() -> None:
    bulkhead = Bulkhead(1)

    def nested(call: Call) -> Any:
        assert bulkhead(call_to("http://b:1/api/add"), lambda one: "other service") == "other service"
        with pytest.raises(OverloadedError, match=r"1 calls of a:1 are running"):
            bulkhead(call_to("http://a:1/api/add"), lambda one: "same service")
        return "done"

    assert bulkhead(call_to("http://a:1/api/add"), nested) == "done"
    assert {key: row["rejected"] for key, row in bulkhead.stats().items()} == {"a:1": 1, "b:1": 0}


def test_a_place_comes_back_on_every_way_out() -> None:
    bulkhead = Bulkhead(1)
    for error in (ValueError("x"), KeyboardInterrupt()):

        def fail(call: Call, error: BaseException = error) -> Any:
            raise error

        with pytest.raises(type(error)):
            bulkhead(call_to("http://a:1/api/add"), fail)
    assert bulkhead.stats()["a:1"]["running"] == 0


@pytest.mark.parametrize("way", ["end", "close", "fail", "drop"])
def test_a_stream_holds_its_place_until_it_ends(way: str) -> None:
    bulkhead = Bulkhead(1)

    def items() -> Iterator[int]:
        yield 1
        if way == "fail":
            raise ValueError("x")

    stream = bulkhead(call_to("http://a:1/api/count", count), lambda call: items())
    assert next(stream) == 1
    assert bulkhead.stats()["a:1"]["running"] == 1
    if way == "end":
        assert list(stream) == []
    elif way == "close":
        stream.close()
        stream.close()
    elif way == "fail":
        with pytest.raises(ValueError, match="x"):
            next(stream)
    else:
        del stream
    assert bulkhead.stats()["a:1"]["running"] == 0


def test_a_bulkhead_for_a_consumer_has_its_own_places() -> None:
    bulkhead = Bulkhead(1)
    other = bulkhead.for_consumer()

    def nested(call: Call) -> Any:
        return other(call, lambda one: "free")

    assert bulkhead(call_to("http://a:1/api/add"), nested) == "free"


def test_calls_over_a_socket_wait_for_a_place() -> None:
    running, most = [0], [0]
    lock = threading.Lock()
    both = threading.Barrier(2)

    @function
    def slow(n: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        both.wait(WAIT)
        with lock:
            running[0] -= 1
        return n

    with HTTPPortal() as http, Consumer(middleware=[Bulkhead(2, max_waiting=10, max_wait=WAIT)]) as consumer:
        address = http.apply(slow)
        futures = [consumer.submit_at(address, {"n": n}) for n in range(8)]
        wait(futures, WAIT)
        assert [one.result(0) for one in futures] == list(range(8))
    assert most == [2]
