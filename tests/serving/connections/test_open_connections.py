"""OpenConnections: which connections are open, and what all of them have moved."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from portal.serving.connections.open_connections import OpenConnections
from tests.support.races import fast_switches, in_threads


class Connection(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


def connection(requests: int = 0, client: str | None = "ann") -> Any:
    return Connection(client=client, requests=requests, bytes_in=10 * requests, output=SimpleNamespace(sent=100))


def test_they_are_counted_by_client() -> None:
    table = OpenConnections()
    first, second, other, alone = connection(), connection(), connection(client="bob"), connection(client=None)
    for one in (first, second, other, alone):
        table.enter(one)
    assert [table.connections_of(client) for client in ("ann", "bob", "eve", None)] == [2, 1, 0, 1]
    assert len(table) == 4
    for _ in range(2):
        table.leave(first)  # the second time it counts nothing
    assert [table.connections_of(client) for client in ("ann", "bob")] == [1, 1]
    assert set(table.snapshot()) == {second, other, alone}


def test_the_totals_include_closed_connections_and_those_before() -> None:
    table = OpenConnections((1, 2, 3))
    first, second = connection(5), connection(7)
    table.enter(first)
    table.enter(second)
    assert table.totals() == (13, 122, 203)
    table.leave(first)
    second.requests += 1
    assert table.totals() == (14, 122, 203)


def test_the_totals_never_shrink_while_connections_close() -> None:
    table, done = OpenConnections(), threading.Event()

    def work(number: int) -> int:
        if number == 0:
            before = (0, 0, 0)
            while not done.is_set():
                now = table.totals()
                assert now >= before
                before = now
            return 0
        for _ in range(1500):
            one = connection(1, f"client {number % 2}")
            table.enter(one)
            one.requests += 1
            table.leave(one)
        if number == 1:
            done.set()
        return 1500

    with fast_switches():
        served = sum(in_threads(4, work))
    assert table.totals() == (2 * served, 10 * served, 100 * served)
    assert len(table) == table.connections_of("client 0") == table.connections_of("client 1") == 0
