"""The fields of classes, and what becomes of their values."""

from __future__ import annotations

import abc
import dataclasses
import sys
import threading
import types
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

import pydantic
import pydantic.dataclasses
import pytest
import typing_extensions
from typing_extensions import TypeAliasType, TypedDict

from portal import function
from portal.errors import ConfigError, ValidationError
from portal.schema import Schema
from portal.schema.hints.fields import alias_value, fields_of, require_plain_default

T = TypeVar("T")
S = TypeVar("S")


@dataclass
class Base(Generic[T, S]):
    first: T
    second: S


@dataclass
class Swapped(Base[S, list[T]], Generic[T, S]):
    third: T


@dataclass
class Fixed(Swapped[int, date]):
    fourth: str = ""


@dataclass
class Redeclared(Base[int, int]):
    first: str  # type: ignore[assignment]


class Left(TypedDict, Generic[T]):
    left: T


class Right(TypedDict, Generic[T]):
    right: list[T]


class Both(Left[int], Right[date]):
    both: str


class Deep(Both):
    deep: typing_extensions.NotRequired[int]


def hints(kind: Any, *args: Any) -> dict[str, Any]:
    fields = fields_of(kind, kind, args)
    assert fields is not None
    return {each.name: each.hint for each in fields}


def test_each_class_has_its_own_type_arguments() -> None:
    assert hints(Fixed) == {"first": date, "second": list[int], "third": int, "fourth": str}
    assert hints(Swapped, str, bytes) == {"first": bytes, "second": list[str], "third": str}
    assert hints(Redeclared) == {"first": str, "second": int}
    assert hints(Both) == {"left": int, "right": list[date], "both": str}
    assert hints(Deep)["right"] == list[date]


def test_other_classes_have_no_fields() -> None:
    assert fields_of(int, int, ()) is None


@dataclass
class Order:
    prices: list[Decimal]
    total: Decimal = field(init=False)
    late: str = field(init=False, repr=False, compare=False)
    _lock: Any = field(init=False, repr=False, compare=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.total = sum(self.prices, Decimal())


def test_a_computed_field_is_sent_and_never_taken_from_the_caller() -> None:
    schema = Schema.of(Order)
    assert schema.json["properties"]["total"] == {"type": "string", "format": "decimal", "readOnly": True}
    assert schema.json["required"] == ["prices"]
    assert schema.dump(Order([Decimal("1.5")])) == {"prices": ["1.5"], "total": "1.5"}
    assert schema.load({"prices": ["1.5"]}) == Order([Decimal("1.5")])
    assert schema.load({"prices": ["1.5"], "total": "1.50"}).total == Decimal("1.5")
    for wrong in ({"total": "9"}, {"late": "x"}, {"_lock": None}):
        with pytest.raises(ValidationError):
            schema.load({"prices": ["1.5"], **wrong})


def test_the_result_with_a_computed_field_may_be_sent_back() -> None:
    @function
    def echo(order: Order) -> Order:
        return order

    found = echo(Order([Decimal(2)]))
    assert (found.total, echo(found)) == (Decimal(2), found)


@dataclass
class WithLock:
    lock: threading.Lock = field(init=False, default_factory=threading.Lock)


@dataclass
class WithInitVar:
    a: int
    seed: dataclasses.InitVar[int] = 0


class Renamed(NamedTuple("Renamed", [("a", int)])):
    def __new__(cls, b: int) -> Any:
        return super().__new__(cls, b)


@dataclass
class NeedsMore(Order):
    def __init__(self, prices: list[Decimal], rate: float) -> None: ...


@dataclass
class Shape(abc.ABC):
    name: str

    @abc.abstractmethod
    def area(self) -> float: ...


class Open(TypedDict, extra_items=int):  # type: ignore[call-arg]
    a: int


class Closed(TypedDict, closed=True):  # type: ignore[call-arg]
    a: int


@pydantic.dataclasses.dataclass
class OfPydantic:
    a: int = pydantic.Field(ge=1)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (WithLock, r"WithLock\.lock"),
        (WithInitVar, r"WithInitVar\.seed is an InitVar"),
        (Renamed, "Renamed cannot be made from its fields"),
        (NeedsMore, "NeedsMore cannot be made from its fields"),
        (Shape, "Shape is abstract"),
        (Open, "extra_items"),
        (OfPydantic, "inside Annotated"),
    ],
)
def test_a_class_that_cannot_be_kept_is_rejected(kind: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Schema.of(kind)


def test_a_closed_typed_dict_is_like_any_other() -> None:
    assert Schema.of(Closed).json["additionalProperties"] is False


def test_a_dataclass_of_pydantic_validates_itself() -> None:
    @pydantic.dataclasses.dataclass
    class Even:
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def check(cls, n: int) -> int:
            if n % 2:
                raise ValueError("odd")
            return n

    schema = Schema.of(Even)
    assert schema.load({"n": 2}) == Even(2)
    with pytest.raises(ValidationError, match="odd"):
        schema.load({"n": 1})


def test_a_default_must_be_a_value() -> None:
    def take(a: int = pydantic.Field(3, ge=1)) -> None: ...

    require_plain_default(3, "take(a)")
    with pytest.raises(ConfigError, match=r"take\(a\): .*inside Annotated"):
        function(take)


Names = TypeAliasType("Names", "list[Word]")
Word = str
Lost = TypeAliasType("Lost", "list[Nowhere]")  # noqa: F821


def test_names_in_an_alias_are_looked_up_in_its_module() -> None:
    assert alias_value(Names) == list[str]
    with pytest.raises(ConfigError, match="Nowhere"):
        alias_value(Lost)


MODERN = """
from __future__ import annotations
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, TypedDict

type Pair[T] = tuple[T, T]
type Json = dict[str, Json] | list[Json] | int
type Either[A, B] = A | list[Pair[B]]
type Days = dict[date, Pair[Days | None]]

@dataclass
class Box[T]:
    content: T
    pair: Pair[T]
    quoted: "T | None" = None

@dataclass
class Dates(Box[date]):
    days: Days | None = None

class Held[T](TypedDict):
    held: T

class HeldDate(Held[date]):
    more: int

class Row[T](NamedTuple):
    cell: T
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement type is of CPython 3.12")
@pytest.mark.parametrize("future", [True, False])
def test_type_parameters_in_brackets(future: bool) -> None:
    module = types.ModuleType(f"modern_{future}")
    sys.modules[module.__name__] = module
    source = MODERN if future else MODERN.replace("from __future__ import annotations", "")
    exec(compile(source, module.__name__, "exec", dont_inherit=True), vars(module))
    day, text = date(2026, 1, 31), "2026-01-31"
    rows = [
        (module.Pair[int], (1, 2), [1, 2]),
        (module.Json, {"a": [1]}, {"a": [1]}),
        (module.Either[int, date], [(day, day)], [[text, text]]),
        (module.Days, {day: (None, {})}, {text: [None, {}]}),
        (module.Box[date], module.Box(day, (day, day)), {"content": text, "pair": [text, text], "quoted": None}),
        (module.HeldDate, {"held": day, "more": 1}, {"held": text, "more": 1}),
        (module.Row[date], module.Row(day), {"cell": text}),
        (module.Dates, module.Dates(day, (day, day)),
         {"content": text, "pair": [text, text], "quoted": None, "days": None}),
    ]  # fmt: skip
    for hint, native, data in rows:
        schema = Schema.of(hint)
        assert schema.dump(native) == data
        assert schema.load(data) == native
    for hint in (module.Pair, module.Box, module.Held, module.Row):
        with pytest.raises(ConfigError, match="is a type variable"):
            Schema.of(hint)
