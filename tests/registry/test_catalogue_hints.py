"""What is said to somebody who has a name wrong."""

from __future__ import annotations

import pytest

from portal import LocalPortal, RegistryError, Service


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
