from __future__ import annotations

from portal import Consumer, HTTPPortal, function
from portal.examples.failover import call_while_one_dies


@function(idempotent=True)
def add(a: float, b: float) -> float:
    return a + b


def test_callers_see_nothing_of_a_lost_server() -> None:
    with HTTPPortal() as one, HTTPPortal() as other, Consumer() as consumer:
        addresses = [one.apply(add), other.apply(add)]
        seen = call_while_one_dies(consumer, addresses, {"a": 1, "b": 2}, one.stop, threads=2, calls=10)
    assert seen.errors == []
    assert seen.before + seen.after == 20
    assert seen.after >= 5
    assert seen.slowest > 0


def test_errors_are_seen() -> None:
    with HTTPPortal() as one, Consumer() as consumer:
        seen = call_while_one_dies(consumer, [one.apply(add)], {"a": 1, "b": 2}, one.stop, threads=1, calls=4)
    assert seen.before == 2
    assert len(seen.errors) == 2
    assert seen.errors[0].startswith("TransportError: ")
