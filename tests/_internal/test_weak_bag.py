"""Objects that are kept by weak references while they end in other threads."""

from __future__ import annotations

import threading

from portal._internal.weak_bag import WeakBag
from tests.support.races import fast_switches, in_threads


class Item:
    def __init__(self, number: int = 0) -> None:
        self.number = number


def test_it_lists_what_lives() -> None:
    bag: WeakBag[Item] = WeakBag()
    kept, gone, taken_out = Item(1), Item(2), Item(3)
    for item in (kept, gone, taken_out, kept):
        bag.add(item)
    assert bag.items() == [kept, gone, taken_out]
    bag.discard(taken_out)
    bag.discard(Item(4))
    del gone, item
    assert bag.items() == [kept]


def test_references_to_what_has_ended_are_bounded() -> None:
    bag: WeakBag[Item] = WeakBag()
    kept = [Item(number) for number in range(10)]
    for item in kept:
        bag.add(item)
    for _ in range(10_000):
        bag.add(Item())
        assert len(bag) <= 36
    assert bag.items()[:10] == kept


def test_one_thread_lists_while_others_add_and_drop_objects() -> None:
    bag: WeakBag[Item] = WeakBag()
    lock, done = threading.Lock(), threading.Event()
    kept = Item()
    bag.add(kept)

    def work(number: int) -> int:
        listed = 0
        if number == 0:
            while not (listed and done.is_set()):
                with lock:
                    found = bag.items()
                assert found[0] is kept
                listed += 1
            return listed
        for _ in range(2000):
            items = [Item() for _ in range(5)]
            for item in items:
                with lock:
                    bag.add(item)
            del items, item  # outside of the lock, as objects end anywhere
        done.set()
        return 1

    with fast_switches():
        assert all(in_threads(4, work))
