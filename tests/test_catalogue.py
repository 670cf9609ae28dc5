"""What is said to somebody who has a name wrong."""

from __future__ import annotations

import pytest

from portal import LocalPortal, RegistryError, Service, function
from portal.catalogue import UniqueIds


def price() -> int:
    return 1


def refuse() -> int:
    return 1


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("local://orders/prise", "; did you mean orders/price?"),
        ("local://orders/prise/0123abcd", "; did you mean orders/price?"),
        ("local://order/price", "; did you mean orders/price, price?"),
        ("local://orders/subtract", ""),  # the service alone is no likeness
        ("local://refuse", "; did you mean orders/refuse?"),
        ("local://Price", "; did you mean price?"),
        ("local://price/xyz", "; did you mean price, orders/price?"),
    ],
)
def test_what_is_near_is_told_and_nothing_else(address: str, hint: str) -> None:
    with LocalPortal() as local:
        local.apply_service(Service("orders", [price, refuse]))
        local.apply(price)
        with pytest.raises(RegistryError) as caught:
            local.resolve_function(address)
        wanted = address.removeprefix("local://")
        assert str(caught.value) == f"no function {wanted}{hint}"


def test_another_fingerprint_is_told_with_the_one_of_now() -> None:
    with LocalPortal() as local:
        now = str(local.apply(price))
        with pytest.raises(RegistryError) as caught:
            local.resolve_function("local://price/00000000")
        there = now.removeprefix("local://")
        assert str(caught.value) == f"no function price/00000000; its contract has another fingerprint now: {there}"
        later = str(local.apply(function(version="2")(price))).removeprefix("local://")
        with pytest.raises(RegistryError, match=f"fingerprint now: {later}, {there}$"):
            local.resolve_function("local://price/00000000")


@pytest.mark.parametrize("kind", ["random", "sequence"])
def test_an_id_of_another_kind_is_no_fingerprint(kind: UniqueIds) -> None:
    with LocalPortal(unique_ids=kind) as local:
        local.apply(price)
        with pytest.raises(RegistryError, match=r"^no function price/00000000; did you mean price.$"):
            local.resolve_function("local://price/00000000")


def test_a_version_that_is_taken_says_what_to_do() -> None:
    with LocalPortal() as local:
        local.apply(price)
        local.apply(function(version="2")(price))
        said = r'^price version 1 is taken; publish this one as version="3", or remove\(address\) the other before$'
        with pytest.raises(RegistryError, match=said) as caught:
            local.apply(function(price))
        assert caught.value.kind == "conflict"
