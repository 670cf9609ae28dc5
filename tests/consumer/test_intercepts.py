from __future__ import annotations

import gc

from portal import Address, Consumer, LocalPortal
from portal.consumer.intercepts import Intercepts


class Owner(LocalPortal):
    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def owns(self, address: Address) -> bool:
        return str(address).startswith(self._prefix)


SHOP = Address.parse("http://shop.example/api/add")


def test_the_newest_owner_responds() -> None:
    found = Intercepts()
    first, second, other = Owner("http://shop"), Owner("http://shop"), Owner("http://bank")
    assert found.find(SHOP) is None
    for one in (first, second, other):
        found.add(one)
    assert found.find(SHOP) is second
    found.remove(second)
    assert found.find(SHOP) is first


def test_each_change_is_counted() -> None:
    found, owner = Intercepts(), Owner("http://shop")
    found.add(owner)
    assert found.version == 1
    found.remove(owner)
    found.remove(owner)
    assert found.version == 2


def test_an_owner_is_held_weakly() -> None:
    found, owner = Intercepts(), Owner("http://shop")
    found.add(owner)
    del owner
    gc.collect()
    assert found.find(SHOP) is None


def test_a_consumer_without_an_intercept_uses_its_own_resolvers() -> None:
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        assert consumer.call_at(portal.apply(abs_of), {"number": -2}) == 2


def abs_of(number: int) -> int:
    return abs(number)
