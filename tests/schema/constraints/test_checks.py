"""Rules that JSON Schema cannot express: each holds on both ways, in parts of other types, and with None."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any
from uuid import UUID, uuid4

import annotated_types
import pydantic
import pytest

from portal import Consumer, LocalPortal
from portal.errors import ConfigError, FunctionError, ValidationError
from portal.schema import Schema
from portal.schema.constraints import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


def is_even(value: int) -> bool:
    return value % 2 == 0


#: (hint, native value that passes, one that does not, rule of its fault, members that the schema gets)
CHECKED: list[tuple[Any, Any, Any, str, dict[str, Any]]] = [
    (Annotated[Decimal, Ge(1)], Decimal("1.00"), Decimal("0.99"), "ge", {"x-minimum": "1"}),
    (Annotated[Decimal, Gt(0.1)], Decimal("0.11"), Decimal("0.1"), "gt", {"x-exclusiveMinimum": "0.1"}),
    (Annotated[Decimal, Le(Decimal("2.50"))], Decimal("2.5"), Decimal("2.51"), "le", {"x-maximum": "2.5"}),
    (Annotated[Decimal, MultipleOf(Decimal("0.05"))], Decimal("1.15"), Decimal("1.16"), "multiple_of",
     {"x-multipleOf": "0.05"}),
    (Annotated[Decimal, MultipleOf(3)], Decimal(9), Decimal("1e40"), "multiple_of", {"x-multipleOf": "3"}),
    (Annotated[Fraction, Lt(Fraction(1, 3))], Fraction(1, 4), Fraction(1, 3), "lt", {"x-exclusiveMaximum": "1/3"}),
    (Annotated[datetime, Ge(NOON)], NOON, NOON - timedelta(seconds=1), "ge", {}),
    (Annotated[date, Le(date(2026, 1, 31))], date(2026, 1, 31), date(2026, 2, 1), "le", {"x-maximum": "2026-01-31"}),
    (Annotated[time, Lt(time(17))], time(16, 59), time(17), "lt", {"x-exclusiveMaximum": "17:00:00"}),
    (Annotated[time, Lt(time(17))], time(16, 59), time(9, tzinfo=UTC), "lt", {}),
    (Annotated[timedelta, Gt(timedelta())], timedelta(1), timedelta(), "gt", {"x-exclusiveMinimum": "PT0S"}),
    (Annotated[timedelta, MultipleOf(timedelta(minutes=15))], timedelta(hours=1), timedelta(minutes=20),
     "multiple_of", {}),
    (Annotated[bytes, MaxLen(4)], b"abcd", b"abcde", "max_length", {"maxLength": 8, "x-max-length": 4}),
    (Annotated[bytes, MinLen(2)], b"ab", b"a", "min_length", {"minLength": 4, "x-min-length": 2}),
    (Annotated[bytearray, MaxLen(1)], bytearray(b"a"), bytearray(b"ab"), "max_length", {}),
    (Annotated[int, annotated_types.Predicate(is_even)], 4, 3, "predicate", {"x-predicate": "is_even"}),
    (Annotated[str, annotated_types.Predicate(str.islower)], "a", "A", "predicate", {"x-predicate": "str.islower"}),
    (annotated_types.LowerCase[str], "a", "A", "predicate", {}),
    (Annotated[float, annotated_types.Predicate(annotated_types.Not(math.isnan))], 1.0, None, "predicate", {}),
    (Annotated[list[int], annotated_types.Predicate(any)], [1], [0], "predicate", {}),
    (Annotated[datetime, annotated_types.Timezone(UTC)], NOON, NOON.astimezone(EAST), "timezone", {}),
    (Annotated[datetime, annotated_types.Timezone("UTC")], NOON, NOON.astimezone(EAST), "timezone", {}),
    (Annotated[time, annotated_types.Timezone(...)], time(9, tzinfo=UTC), time(9), "timezone", {}),
    (Annotated[time, annotated_types.Timezone(None)], time(9), time(9, tzinfo=UTC), "timezone", {}),
    (Annotated[Decimal, pydantic.Field(decimal_places=2)], Decimal("1.25"), Decimal("1.255"), "decimal_places",
     {"x-decimal-places": 2}),
    (Annotated[Decimal, pydantic.Field(max_digits=3)], Decimal("1.25"), Decimal("12.55"), "max_digits", {}),
    (Annotated[Decimal, pydantic.Field(max_digits=3)], Decimal("0.001"), Decimal("1e3"), "max_digits", {}),
    (pydantic.condecimal(gt=0, decimal_places=1), Decimal("0.5"), Decimal(0), "gt", {}),
    (pydantic.UUID4, uuid4(), UUID(int=1), "uuid_version", {"x-uuid-version": 4}),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "good", "bad", "rule", "members"), CHECKED)
def test_a_check_holds_on_both_ways(hint: Any, good: Any, bad: Any, rule: str, members: dict[str, Any]) -> None:
    schema = Schema.of(hint)
    assert members.items() <= schema.json.items()
    assert schema.load(schema.dump(good)) == good
    if bad is None:
        return
    data = Schema.of(type(bad)).dump(bad)
    for action in (lambda: schema.load(data), lambda: schema.dump(bad)):
        with pytest.raises(ValidationError) as caught:
            action()
        assert [(fault.path, fault.rule) for fault in caught.value.errors] == [("", rule)]
        assert caught.value.errors[0].message.startswith("must ")


@dataclass
class Price:
    net: Annotated[Decimal, Ge(0)]


@pytest.mark.parametrize(
    ("hint", "bad", "data", "path"),
    [
        (list[Annotated[Decimal, Ge(0)]], [Decimal(1), Decimal(-1)], ["1", "-1"], "/1"),
        (Price, Price(Decimal(-1)), {"net": "-1"}, "/net"),
        (dict[str, tuple[Price, int]], {"a": (Price(Decimal(-1)), 1)}, {"a": [{"net": "-1"}, 1]}, "/a/0/net"),
        (Annotated[Decimal, Ge(0)] | None, Decimal(-1), "-1", ""),
        (Annotated[Decimal | None, Ge(0)], Decimal(-1), "-1", ""),
        (dict[Annotated[Decimal, Ge(0)], int], {Decimal(-1): 1}, {"-1": 1}, "/-1"),
    ],
)
def test_a_fault_names_the_part(hint: Any, bad: Any, data: Any, path: str) -> None:
    schema = Schema.of(hint)
    for action in (lambda: schema.load(data), lambda: schema.dump(bad)):
        with pytest.raises(ValidationError) as caught:
            action()
        found = [(fault.path, fault.rule) for fault in caught.value.errors]
        assert (path, "ge") in found or (path, "anyOf") in found


def test_none_has_no_limit() -> None:
    for hint in (Annotated[Decimal | None, Ge(0)], Annotated[Decimal, Ge(0)] | None):
        assert Schema.of(hint).load(None) is None
        assert Schema.of(hint).dump(None) is None


def test_a_union_goes_on_to_the_member_whose_check_holds() -> None:
    schema = Schema.of(Annotated[Decimal, Le(10)] | Annotated[Decimal, Ge(100)])
    assert schema.load("150") == Decimal(150)
    assert schema.dump(Decimal(150)) == "150"
    with pytest.raises(ValidationError):
        schema.load("50")


def test_checks_hold_for_calls_and_are_not_bypassed_for_plain_values() -> None:
    def halve(
        n: Annotated[int, annotated_types.Predicate(is_even)],
    ) -> Annotated[int, annotated_types.Predicate(is_even)]:
        return n // 2

    with LocalPortal() as portal, Consumer([portal]) as consumer:
        address = portal.apply(halve)
        local = consumer.resolve(address)
        assert consumer.call_at(address, {"n": 4}) == local(n=4) == 2
        for call in (lambda: consumer.call_at(address, {"n": 3}), lambda: local(n=3)):
            with pytest.raises(ValidationError, match="must satisfy the predicate is_even, got 3"):
                call()
        for call in (lambda: consumer.call_at(address, {"n": 2}), lambda: local(n=2)):
            with pytest.raises(FunctionError, match="must satisfy the predicate is_even, got 1"):
                call()


def test_equal_limits_are_one_schema_because_typing_keeps_the_first_of_them() -> None:
    first, second = Annotated[int, Gt(Decimal(7))], Annotated[int, Gt(7)]
    assert Schema.of(first).json == Schema.of(second).json == {"type": "integer", "exclusiveMinimum": 7}
    assert Schema.of(Annotated[float, Gt(Decimal("0.5"))]).json["exclusiveMinimum"] == 0.5
    money = [Schema.of(Annotated[Decimal, Le(limit)]).json for limit in (10, 10.0, Decimal("10.00"), Decimal("1e1"))]
    assert [json["x-maximum"] for json in money] == ["10"] * 4


def test_a_predicate_that_fails_is_user_code() -> None:
    def check(n: int) -> bool:
        return bool(1 / n)

    schema = Schema.of(Annotated[int, annotated_types.Predicate(check)])
    assert schema.load(1) == 1
    with pytest.raises(FunctionError):
        schema.load(0)


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        (Annotated[Decimal, Ge("1")], "limit of the class int or float or Decimal"),
        (Annotated[Decimal, Ge(math.inf)], "finite"),
        (Annotated[Decimal, MultipleOf(0)], "cannot be a multiple of"),
        (Annotated[date, Ge(NOON)], "limit of the class date"),
        (Annotated[date, MultipleOf(date(2026, 1, 1))], "cannot be a multiple of"),
        (Annotated[datetime, Gt(datetime(2026, 1, 1))], "time zone"),
        (Annotated[timedelta, Ge(5)], "limit of the class timedelta"),
        (Annotated[int, Ge("1")], "must be a number"),
        (Annotated[UUID, Ge(UUID(int=1))], "does not apply"),
        (Annotated[str | bytes, MaxLen(3)], "member of the union"),
        (Annotated[str | date, MinLen(3)], "member of the union"),
        (Annotated[bytes, MaxLen("3")], "a length must be an int"),  # type: ignore[arg-type]
        (Annotated[str, MaxLen(-1)], "a length must be an int"),
        (Annotated[list[int], MinLen(1.5)], "a length must be an int"),  # type: ignore[arg-type]
        (Annotated[int, annotated_types.Predicate(3)], "must be callable"),  # type: ignore[arg-type]
        (Annotated[datetime, annotated_types.Timezone(None)], "always has an offset"),
        (Annotated[datetime, annotated_types.Timezone("Europe/Paris")], "not the name of its zone"),
        (Annotated[int, annotated_types.Timezone(...)], "datetime and time only"),
        (Annotated[float, pydantic.Field(decimal_places=2)], "Decimal only"),
        (Annotated[str, pydantic.types.UuidVersion(4)], "UUID only"),
    ],
)
def test_a_rule_that_cannot_hold_is_rejected(hint: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Schema.of(hint)
