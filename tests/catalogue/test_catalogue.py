"""Errors of the catalogue for a wrong name, id or version."""

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
        ("local://orders/subtract", ""),  # a common service does not make names similar
        ("local://refuse", "; did you mean orders/refuse?"),
        ("local://Price", "; did you mean price?"),
        ("local://order", "; did you mean orders?"),
        ("local://orders", "; there is a service; use Consumer.service(address), or a function such as orders/price"),
        ("local://price/xyz", "; did you mean price, orders/price?"),
    ],
)
def test_similar_names_are_suggested(address: str, hint: str) -> None:
    with LocalPortal() as local:
        local.apply_service(Service("orders", [price, refuse]))
        local.apply(price)
        with pytest.raises(RegistryError) as caught:
            local.resolve_function(address)
        wanted = address.removeprefix("local://")
        assert str(caught.value) == f"there is no function {wanted}{hint}"


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("local://orders/price", "; there is a function; use Consumer.resolve(address)"),
        ("local://order", "; did you mean orders?"),
        ("local://stock", ""),
    ],
)
def test_what_was_perhaps_meant_by_a_service(address: str, hint: str) -> None:
    with LocalPortal() as local:
        local.apply_service(Service("orders", [price, refuse]))
        with pytest.raises(RegistryError) as caught:
            local.resolve_service(address)
        assert str(caught.value) == f"there is no service {address.removeprefix('local://')}{hint}"


def test_the_error_for_an_old_fingerprint_has_the_present_one() -> None:
    with LocalPortal() as local:
        now = str(local.apply(price))
        with pytest.raises(RegistryError) as caught:
            local.resolve_function("local://price/00000000")
        there = now.removeprefix("local://")
        assert caught.value.message == "there is no function price/00000000"
        assert caught.value.hint == f"its schema has another fingerprint now: {there}"
        later = str(local.apply(function(version="2")(price))).removeprefix("local://")
        with pytest.raises(RegistryError, match=f"fingerprint now: {later}, {there}$"):
            local.resolve_function("local://price/00000000")


@pytest.mark.parametrize("kind", ["random", "sequence"])
def test_an_id_of_another_kind_is_not_a_fingerprint(kind: UniqueIds) -> None:
    with LocalPortal(unique_ids=kind) as local:
        local.apply(price)
        with pytest.raises(RegistryError, match=r"^there is no function price/00000000; did you mean price.$"):
            local.resolve_function("local://price/00000000")


def test_the_error_for_a_taken_version_says_what_to_do() -> None:
    with LocalPortal() as local:
        local.apply(price)
        local.apply(function(version="2")(price))
        with pytest.raises(RegistryError, match=r"^price version 1 is published already; ") as caught:
            local.apply(function(price))
        assert caught.value.kind == "conflict"
        assert caught.value.hint == 'publish this one as version="3", or call remove(address) first'
