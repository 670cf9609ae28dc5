from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from portal._internal.counter import FREE_THREADED, Counter, number_source
from portal.context import new_request_id
from tests.support.races import fast_switches, in_threads


@pytest.fixture(autouse=True)
def races() -> Iterator[None]:
    with fast_switches():
        yield


#: How numbers are taken on this interpreter, and on one without the GIL.
WAYS = pytest.mark.parametrize("locked", sorted({FREE_THREADED, True}))


def test_reads_do_not_count() -> None:
    counter = Counter()
    assert [counter.value, counter.value] == [0, 0]
    for _ in range(3):
        counter.add()
    assert [counter.value, counter.value] == [3, 3]
    counter.add()
    assert counter.value == 4


@WAYS
def test_no_addition_of_eight_threads_is_lost(locked: bool) -> None:
    counter = Counter(locked=locked)

    def work(_: int) -> None:
        for number in range(5_000):
            counter.add()
            if number % 500 == 0:
                assert counter.value > 0

    in_threads(8, work)
    assert counter.value == 40_000


@WAYS
def test_no_number_is_given_twice(locked: bool) -> None:
    take = number_source(1, locked=locked)
    taken = in_threads(8, lambda _: [take() for _ in range(5_000)])
    assert sorted(number for some in taken for number in some) == list(range(1, 40_001))


def test_no_request_id_is_given_twice() -> None:
    taken = in_threads(8, lambda _: [new_request_id() for _ in range(5_000)])
    assert len({one for some in taken for one in some}) == 40_000


def test_a_counter_is_read_while_it_grows() -> None:
    counter, done = Counter(), threading.Event()

    def work(number: int) -> list[int]:
        if number:
            for _ in range(5_000):
                counter.add()
            done.set()
            return []
        found = [counter.value]
        while not done.is_set():
            found.append(counter.value)
        return found

    found = in_threads(4, work)[0]
    assert found == sorted(found)
    assert counter.value == 15_000
