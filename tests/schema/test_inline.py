"""Generated conversion of a whole schema gives the results and the reports of its codec and its validator."""

from __future__ import annotations

import copy
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import pytest

from portal import FunctionError, ValidationError
from portal.schema import Description, Ge, MaxLen, Parameters, Schema
from portal.schema.bounds.limits import ValidationLimits, set_validation_limits
from portal.schema.codecs import Codec
from portal.schema.codecs.shapes import PartShape
from portal.schema.codecs.writer import TooLarge
from portal.schema.hints import map_hint
from portal.schema.inline import NO_CONVERSION, Shapes, generate_conversion


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(Enum):
    ONE = 1
    TEXT = "text"


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Labels(TypedDict):
    name: str
    price: NotRequired[Decimal]


@dataclass
class Item:
    sku: str
    quantity: int
    price: float = 1.5
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    color: Color
    level: Level | None = None


@dataclass
class Order:
    customer: str
    items: list[Item]
    placed: datetime | None = None
    note: Annotated[str, MaxLen(5), Description("a note")] = "none"


@dataclass
class Positive:
    """Its constructor runs code of a user."""

    number: int

    def __post_init__(self) -> None:
        made.append(self.number)
        if self.number < 0:
            raise ValueError("must be at least 0")


@dataclass
class Factory:
    numbers: list[int] = field(default_factory=lambda: [7])


made: list[int] = []
NOW = "2026-01-31T09:00:00Z"
ITEM = {"sku": "é", "quantity": 1, "price": 2.5, "tags": ["a"]}

#: Hint, and JSON data that fits.
SAMPLES: list[tuple[Any, list[Any]]] = [
    (Item, [ITEM, {"sku": "PEN", "quantity": 2}]),
    (Order, [{"customer": "ann", "items": [ITEM, {"sku": "PEN", "quantity": 1}], "placed": NOW, "note": "short"}]),
    (Frozen, [{"color": "red"}, {"color": "green", "level": 2}, {"color": "red", "level": None}]),
    (list[Point], [[{"x": 1, "y": 2.0}, {"x": 1}]]),
    (Labels, [{"name": "a", "price": "1.50"}, {"price": "1", "name": "b"}, {"name": "c"}]),
    (dict[str, list[Item]], [{"a": [ITEM], "é": []}]),
    (dict[int, str], [{"1": "a"}]),
    (dict[Color, int], [{"red": 1}]),
    (tuple[int, str, Color], [[1, "a", "red"]]),
    (tuple[Item, ...], [[ITEM]]),
    (deque[float], [[1.5, 2]]),
    (Sequence[Color], [["red", "green"]]),
    (Iterable[int], [[1, 2]]),
    (set[str], [["a", "b"]]),
    (frozenset[int], [[1, 2]]),
    (OrderedDict[str, int], [{"b": 1, "a": 2}]),
    (Counter[str], [{"a": 1}]),
    (Mapping[str, date | None], [{"a": "2026-01-31", "b": None}]),
    (list[int | str | None], [[1, "a", None]]),
    (list[int | float], [[1, 2.5]]),
    (list[Item | Point | Color], [[ITEM, {"x": 1}, "red"]]),
    (list[Literal["a", "b"]], [["a", "b"]]),
    (list[Literal[1, "a", True]], [[1, "a", True]]),
    (list[Literal[Color.RED, "x"]], [["red", "x"]]),
    (list[Mixed], [[1, "text"]]),
    (list[Annotated[int, Ge(1)]], [[1, 2]]),
    (list[bool | None], [[True, False, None]]),
    (list[UUID], [["3f2a9c51-0000-4000-8000-000000000000"]]),
    (list[timedelta], [["PT90S"]]),
    (list[bytes], [["aGVsbG8="]]),
    (list[bytearray], [["aGVsbG8="]]),
    (list[Path], [["/tmp/a"]]),
    (list[Positive], [[{"number": 1}, {"number": 2}]]),
    (list[Factory], [[{}, {"numbers": [1]}]]),
]


class Text(str):
    pass


class Number(int):
    pass


class Object(dict):  # type: ignore[type-arg]
    pass


class Array(list):  # type: ignore[type-arg]
    pass


ODD: list[Any] = [
    None, True, 0, 1, -1, 1.0, 1.5, float("nan"), float("inf"), 10**400, "", "x", "red", "\ud800", "é" * 9, NOW,
    [], {}, (), [1], {"x": 1}, {"\ud800": 1}, {1: 2}, Decimal(1), Text("a"), Number(1), Object(), Array(), object(),
    b"x", Color.RED, Level.LOW, Point(1, 2.0), Item("a", 1),
]  # fmt: skip


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    """Let reports take their time: on a slow machine they would end early."""
    before = set_validation_limits(ValidationLimits(report_time=600.0))
    yield
    set_validation_limits(before)


def changed(value: Any) -> Iterator[Any]:
    """Yield copies of a value with one part replaced, left out or added."""
    yield from ODD
    if isinstance(value, dict):
        yield {**value, "unknown": 1}
        for name, part in value.items():
            yield {other: one for other, one in value.items() if other != name}
            yield from ({**value, name: new} for new in changed(part))
    elif isinstance(value, list):
        yield [*value, *value]
        for index, part in enumerate(value):
            yield from ([*value[:index], new, *value[index + 1 :]] for new in changed(part))


def outcome(convert: Any, value: Any) -> Any:
    """Return what a conversion gives, with the classes of all parts, or its report."""
    try:
        return described(convert(value))
    except (ValidationError, FunctionError) as error:
        return type(error), [(fault.path, fault.message, fault.rule) for fault in error.errors], error.message


def described(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value), [(described(name), described(part)) for name, part in value.items()]
    if isinstance(value, list | tuple | deque):
        return type(value), [described(part) for part in value]
    return type(value), repr(value)


def plain(hint: Any) -> Schema:
    """Return the schema of a hint without generated conversion."""
    codec = map_hint(hint)
    return Schema(codec.json, kind="hint", source=hint, codec=Codec(codec.json, codec.decode, codec.encode,
                  codec.native_types, codec.children))  # fmt: skip


@pytest.mark.parametrize(("hint", "samples"), SAMPLES, ids=[str(hint)[:60] for hint, _ in SAMPLES])
def test_generated_conversion_gives_the_same_results_and_reports(hint: Any, samples: list[Any]) -> None:
    generated, general = Schema.of(hint), plain(hint)
    for sample in samples:
        native = general.load(sample)
        assert described(generated.load(sample)) == described(native)
        assert outcome(generated.dump, native) == outcome(general.dump, native)
        for value in changed(sample):
            before = copy.copy(value) if isinstance(value, dict | list) else value
            assert outcome(generated.load, value) == outcome(general.load, value)
            assert outcome(generated.dump, value) == outcome(general.dump, value)
            assert value is before or described(before) == described(value)


@pytest.mark.parametrize(("hint", "samples"), SAMPLES, ids=[str(hint)[:60] for hint, _ in SAMPLES])
def test_parameters_are_loaded_as_their_schema_loads_them(hint: Any, samples: list[Any]) -> None:
    def target(value, count: int = 3, *, label: str | None = None):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    target.__annotations__["value"] = hint
    parameters, general = Parameters.of(target), plain(hint)
    for sample in samples:
        expected = {"value": described(general.load(sample)), "count": described(3), "label": described(None)}
        loaded = parameters.load({"value": sample})
        assert {name: described(part) for name, part in loaded.items()} == expected
        assert parameters.load({"value": sample, "count": 4, "label": "x"}).keys() == expected.keys()
        for value in changed(sample):
            expected_faults = general.faults(value)
            try:
                found: list[Any] = []
                parameters.load({"value": value})
            except (ValidationError, FunctionError) as error:
                found = error.errors
            if expected_faults:
                assert [fault.path for fault in found] == ["/value" + fault.path for fault in expected_faults]


def conversion(hint: Any) -> Any:
    return generate_conversion(map_hint(hint), True)


def test_what_is_generated() -> None:
    pure = conversion(Order)
    assert pure.load is not None
    assert pure.fits is None
    own = conversion(list[Positive])
    assert own.load is None
    assert own.fits([{"number": 1}]) is True
    assert own.fits([{"number": 1.0}]) is False  # it fits, but the validator has to say so
    assert conversion(int).load(1) == 1


def test_a_constructor_runs_only_if_all_data_fits_and_once() -> None:
    schema = Schema.of(list[Positive])
    made.clear()
    with pytest.raises(ValidationError):
        schema.load([{"number": 1}, {"number": "x"}])
    assert made == []
    schema.load([{"number": 1}, {"number": 2}])
    assert made == [1, 2]
    with pytest.raises(ValidationError, match="must be at least 0") as caught:
        schema.load([{"number": 1}, {"number": -2}])
    assert [fault.path for fault in caught.value.errors] == ["/1"]


def test_the_constructor_of_parameters_runs_only_if_all_of_them_fit() -> None:
    def target(first: Positive, second: int) -> None:
        raise NotImplementedError

    parameters = Parameters.of(target)
    made.clear()
    with pytest.raises(ValidationError):
        parameters.load({"first": {"number": 1}, "second": "x"})
    assert made == []
    assert parameters.load({"first": {"number": 1}, "second": 2}) == {"first": Positive(1), "second": 2}


NAMES = [
    "a'] or exec('raise SystemExit') or value['a",
    'x"\n raise SystemExit\n"',
    "\\",
    "{0}",
    "é",
    "class",
    "v1",
    "c1",
]


def test_names_from_a_schema_are_only_data() -> None:
    members = TypedDict("members", dict.fromkeys(NAMES, int))  # type: ignore[operator]
    data = {name: index for index, name in enumerate(NAMES)}
    schema = Schema.of(members)
    assert conversion(members).load(data) == data
    assert schema.load(data) == data
    assert schema.dump(data) == data
    choices = Schema.of(list[Literal[tuple(NAMES)]])  # type: ignore[misc]
    assert choices.load(NAMES) == NAMES


def test_a_name_that_is_no_ascii_identifier_stays_with_its_codec() -> None:
    """Python normalizes identifiers, so an attribute may have another name than its field."""
    kind = make_dataclass("kind", [("é", int)])
    assert map_hint(kind).structure is None


def test_schemas_that_are_left_to_the_validator() -> None:
    deep: Any = int
    for _ in range(30):
        deep = list[deep]
    assert conversion(deep) is NO_CONVERSION
    value: Any = 1
    for _ in range(30):
        value = [value]
    assert Schema.of(deep).load(value) == value
    wide = make_dataclass("wide", [(f"field{index}", Order) for index in range(100)])
    assert conversion(wide) is NO_CONVERSION
    with pytest.raises(TooLarge):
        Shapes(True).of(Codec({"type": "string", "pattern": "^a"}))
    assert isinstance(Shapes(True).of(Codec({"type": "string"})), PartShape)


def test_what_the_handler_of_a_signal_raises_does_not_count_as_a_misfit() -> None:
    class Interrupting(dict):  # type: ignore[type-arg]
        pass

    def handler(number: int, frame: Any) -> None:
        raise RuntimeError("soft time limit")

    def is_encodable(text: str) -> bool:
        handler(14, sys._getframe())
        return True

    schema = Schema.of(list[Item])
    schema.load([ITEM])
    conversion = schema._conversion
    assert conversion is not None
    assert conversion.load is not None
    conversion.load.__globals__["is_encodable"] = is_encodable
    with pytest.raises(FunctionError, match="soft time limit"):
        schema.load([ITEM])
