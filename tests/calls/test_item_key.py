"""The idempotency key of one call of a batch."""

from __future__ import annotations

from portal.calls.item_key import ItemKey
from portal.http11.fields import is_idempotency_key


def test_a_header_can_carry_the_key_of_any_item() -> None:
    for key in ("k", "k" * 255, "!~"):
        for index in (0, 10**6):
            assert is_idempotency_key(ItemKey.of(key, index))


def test_items_have_different_keys() -> None:
    pairs = [("order", 0), ("order", 1), ("order.0", 0), ("0 order", 1), ("1 order", 0), ("10", 1), ("0", 11)]
    assert len({ItemKey.of(key, index) for key, index in pairs}) == len(pairs)


def test_an_item_keeps_its_key() -> None:
    assert ItemKey.of("order", 3) == ItemKey.of("order", 3)
