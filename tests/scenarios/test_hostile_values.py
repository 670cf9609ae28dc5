"""Values made to be expensive: what they cost grows no faster than their size, and so does what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from portal import function
from portal.errors import ValidationError
from portal.errors.fault import MAX_FAULTS
from portal.schema import Schema, ValidationLimits

HASH_MODULUS = 2**61 - 1  # CPython's, for numbers: those that are equal under it have equal hashes, on every machine


@dataclass
class Left:
    kids: list[Left | Right]


@dataclass
class Right:
    kids: list[Left | Right]
    number: int = 0


def nested(depth: int, inside: Any) -> dict[str, Any]:
    value: dict[str, Any] = {"kids": [inside]}
    for _ in range(depth):
        value = {"kids": [value]}
    return value


@pytest.mark.parametrize(
    ("hint", "items"),
    [
        (list[int], ["a"] * 50_000),
        (list[float], [float("inf")] * 50_000),
        (list[str], ["\ud800"] * 50_000),
        (list[Decimal], ["x"] * 5000),
    ],
)
def test_a_report_is_bounded(hint: Any, items: list[Any]) -> None:
    found = Schema.of(hint).faults(items)
    length = sum(fault.length for fault in found[:-1])
    assert len(found) == MAX_FAULTS + 1 or length <= ValidationLimits().report_text < length + found[-2].length
    assert length <= ValidationLimits().report_text
    assert found[-1].rule == "faults"
    assert "more" in found[-1].message
    assert {fault.rule for fault in found[:-1]} != {"faults"}


def test_a_report_below_the_bound_is_complete() -> None:
    found = Schema.of(list[int]).faults(["a"] * MAX_FAULTS)
    assert len(found) == MAX_FAULTS
    assert all(fault.rule == "type" for fault in found)


def test_unknown_names_and_decoder_errors_are_bounded() -> None:
    @function
    def add(a: float, b: float) -> float:
        return a + b

    with pytest.raises(ValidationError) as caught:
        add.schema.validate_input({f"k{number}": 1 for number in range(5000)})
    assert len(caught.value.errors) == MAX_FAULTS + 1

    with pytest.raises(ValidationError) as caught:
        Schema.of(list[list[float]]).load([[10**400]] * 5000)
    assert len(caught.value.errors) <= MAX_FAULTS + 1


def test_the_report_on_a_deep_union_does_not_double_with_each_level() -> None:
    schema = Schema.of(Left)
    assert schema.faults(nested(2, {"bad": 1}))
    found = schema.faults(nested(25, {"bad": 1}))  # 2 to the power of 25 ways to read it
    assert found
    assert schema.faults(nested(2, {"bad": 1}))  # and the next report is as good as before


def test_items_that_are_not_unique_are_found_without_comparing_each_with_each() -> None:
    mixed: list[Any] = [item for number in range(20_000) for item in (number, [number])]
    found = Schema.of({"type": "array", "uniqueItems": True, "maxItems": 3}).faults([*mixed, 1])
    assert {fault.rule for fault in found} == {"uniqueItems", "maxItems"}


@pytest.mark.parametrize("container", [set, frozenset])
@pytest.mark.parametrize("item", [int, Decimal, UUID])
def test_items_with_equal_hashes_are_rejected_early(container: type, item: type) -> None:
    numbers = [number * HASH_MODULUS for number in range(40_000)]
    made = {int: numbers, Decimal: list(map(str, numbers)), UUID: [str(UUID(int=one)) for one in numbers]}
    hint: Any = container[item]  # type: ignore[index]
    with pytest.raises(ValidationError) as caught:
        Schema.of(hint).load(made[item])
    assert caught.value.errors[0].rule == "decode"
    few = made[item][:100]
    assert len(Schema.of(hint).load(few)) == 100


def test_names_with_equal_hashes_are_rejected_early() -> None:
    names = {str(UUID(int=number * HASH_MODULUS)): 1 for number in range(40_000)}
    with pytest.raises(ValidationError):
        Schema.of(dict[UUID, int]).load(names)
    assert Schema.of(dict[UUID, int]).load({str(UUID(int=5)): 1}) == {UUID(int=5): 1}


def test_a_large_set_of_ordinary_numbers_is_accepted() -> None:
    assert Schema.of(set[int]).load(list(range(100_000))) == set(range(100_000))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (list[str], ["\ud800"]),
        (dict[str, str], {"a": "\ud800"}),
        (dict[str, int], {"\ud800": 1}),
        (list[str | None], ["\ud800"]),
        (list[dict[str, list[str]]], [{"a": ["\udfff"]}]),
        (tuple[int, str], [1, "\ud800"]),
    ],
)
def test_a_lone_surrogate_is_rejected_at_any_place(hint: Any, value: Any) -> None:
    schema = Schema.of(hint)
    assert not schema.accepts(value)
    assert schema.faults(value)[0].rule == "json"
