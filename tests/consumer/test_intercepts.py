from __future__ import annotations

import gc
import threading

import pytest

from portal import Address, ConfigError, Consumer, LocalPortal
from portal.consumer.intercepts import Intercepts


class Owner(LocalPortal):
    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self.base = Address.parse(prefix)

    def owns(self, address: Address) -> bool:
        return str(address).startswith(self._prefix)


SHOP = Address.parse("http://shop.example/api/add")


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_the_owner_with_the_longest_base_responds(order: tuple[int, ...]) -> None:
    found = Intercepts()
    owners = [Owner("http://shop.example/api"), Owner("http://shop.example"), Owner("http://bank.example")]
    assert found.find(SHOP) is None
    for number in order:
        found.add(owners[number], owners[number].base)
    assert found.find(SHOP) is owners[0]
    found.remove(owners[0])
    assert found.find(SHOP) is owners[1]


def test_a_base_has_one_owner() -> None:
    found = Intercepts()
    first, second = Owner("http://shop.example/api"), Owner("http://shop.example/api")
    found.add(first, first.base)
    with pytest.raises(ConfigError, match="close the other TestingPortal"):
        found.add(second, Address.parse("http://SHOP.example:80/api"))
    assert found.find(SHOP) is first
    assert found.version == 1
    del first
    gc.collect()
    found.add(second, second.base)
    assert found.find(SHOP) is second


def test_one_of_many_threads_gets_a_base() -> None:
    found, owners, begin = Intercepts(), [Owner("http://shop.example") for _ in range(8)], threading.Barrier(8)
    rejected: list[ConfigError] = []

    def add(owner: Owner) -> None:
        begin.wait(30)
        try:
            found.add(owner, owner.base)
        except ConfigError as error:
            rejected.append(error)

    threads = [threading.Thread(target=add, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(rejected), found.version) == (7, 1)


def test_each_change_is_counted() -> None:
    found, owner = Intercepts(), Owner("http://shop.example")
    found.add(owner, owner.base)
    assert found.version == 1
    found.remove(owner)
    found.remove(owner)
    assert found.version == 2


def test_an_owner_is_held_weakly() -> None:
    found, owner = Intercepts(), Owner("http://shop.example")
    found.add(owner, owner.base)
    del owner
    gc.collect()
    assert found.find(SHOP) is None


def test_a_consumer_without_an_intercept_uses_its_own_resolvers() -> None:
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        assert consumer.call_at(portal.apply(abs_of), {"number": -2}) == 2


def abs_of(number: int) -> int:
    return abs(number)
