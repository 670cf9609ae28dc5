"""Models of pydantic, Structs of msgspec and classes of attrs, where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from portal import ConfigError, Consumer, FunctionError, HTTPPortal, LocalPortal, ValidationError, function
from portal.schema import Schema, to_builtins

CLASSES: dict[str, Callable[[], Any]] = {}


def library(make: Callable[[], Any]) -> Callable[[], Any]:
    CLASSES[make.__name__] = make
    return make


@library
def pydantic() -> Any:
    module = pytest.importorskip("pydantic")

    class Item(module.BaseModel):  # type: ignore[misc,name-defined]
        sku: str
        price: Decimal = Decimal("1.20")
        day: date | None = None
        parts: "list[Item]" = []  # noqa: RUF012, UP037

        @module.field_validator("sku")  # type: ignore[untyped-decorator]
        @classmethod
        def _check(cls, value: str) -> str:
            if value == "bad":
                raise ValueError("no bad items")
            return value

    Item.model_rebuild(_types_namespace={"Item": Item})
    return Item


@library
def msgspec() -> Any:
    module = pytest.importorskip("msgspec")

    def check(item: Any) -> None:
        if item.sku == "bad":
            raise ValueError("no bad items")

    return module.defstruct(
        "Item",
        [
            ("sku", str),
            ("price", Decimal, Decimal("1.20")),
            ("day", date | None, None),
            ("parts", list[Any], module.field(default_factory=list)),
        ],
        namespace={"__post_init__": check},
    )


@library
def attrs() -> Any:
    module = pytest.importorskip("attrs")

    def check(item: Any, attribute: Any, value: str) -> None:
        if value == "bad":
            raise ValueError("no bad items")

    return module.make_class(
        "Item",
        {
            "sku": module.field(type=str, validator=check),
            "price": module.field(type=Decimal, default=Decimal("1.20")),
            "day": module.field(type=date | None, default=None),
            "parts": module.field(type=list[Any], factory=list),
        },
    )


@pytest.fixture(params=sorted(CLASSES))
def item(request: pytest.FixtureRequest) -> Any:
    return CLASSES[request.param]()


def functions(item: Any) -> tuple[Any, Any]:
    def echo(one: Any, others: Any) -> Any:
        assert isinstance(one, item)
        assert all(isinstance(other, item) for other in others)
        return [one, *others]

    echo.__annotations__ = {"one": item, "others": list[item], "return": list[item]}

    def wrong(sku: str) -> Any:
        return {"sku": 3}

    wrong.__annotations__["return"] = item
    return function(echo), function(wrong)


@pytest.mark.parametrize("kind", ["local", "http"])
def test_instances_travel_and_come_back(item: Any, kind: str) -> None:
    echo, wrong = functions(item)
    portal: Any = LocalPortal() if kind == "local" else HTTPPortal()
    with portal, Consumer([portal] if kind == "local" else []) as consumer:
        address = portal.apply(echo)
        params = {"one": {"sku": "PEN"}, "others": [{"sku": "BAG", "price": "2.50", "day": "2026-01-31"}]}
        rows = consumer.call_at(address, params)
        assert [(row["sku"], row["price"], row["day"]) for row in rows] == [
            ("PEN", "1.20", None),
            ("BAG", "2.50", "2026-01-31"),
        ]
        found = consumer.call_at(address, params, returns=list[item])
        assert found == [item(sku="PEN"), item(sku="BAG", price=Decimal("2.50"), day=date(2026, 1, 31))]
        assert portal.resolve_function(address)(one=found[0], others=found[1:]) is not None
        for broken, path in (({"sku": 3}, "/one/sku"), ({}, "/one/sku")):
            with pytest.raises(ValidationError) as caught:
                consumer.call_at(address, {"one": broken, "others": []})
            assert caught.value.errors[0].path in (path, "/one")
        with pytest.raises(ValidationError, match="no bad items") as caught:
            consumer.call_at(address, {"one": {"sku": "bad"}, "others": []})
        assert caught.value.errors[0].path in ("/one", "/one/sku")
        with pytest.raises(FunctionError):
            consumer.call_at(portal.apply(wrong), {"sku": "PEN"})


def test_inside_a_dataclass_and_a_union(item: Any) -> None:
    @dataclass
    class Order:
        item: Any
        spare: Any = None

    Order.__annotations__ = {"item": item, "spare": item | None}
    for name, hint in Order.__annotations__.items():
        Order.__dataclass_fields__[name].type = hint
    schema = Schema.of(Order)
    value = Order(item(sku="PEN"), item(sku="BAG"))
    data = schema.dump(value)
    assert (data["item"]["sku"], data["spare"]["price"]) == ("PEN", "1.20")
    assert schema.load(data) == value
    assert to_builtins(value)["item"]["sku"] == "PEN"


def test_a_schema_refers_to_definitions_of_its_own() -> None:
    item = CLASSES["pydantic"]()
    schema = Schema.of(dict[str, item])
    assert schema.load({"a": {"sku": "PEN", "parts": [{"sku": "CAP"}]}})["a"].parts == [item(sku="CAP")]
    assert not schema.accepts({"a": {"sku": "PEN", "parts": [{"sku": 3}]}})


def test_a_model_without_a_schema_is_rejected() -> None:
    module = pytest.importorskip("pydantic")

    class Task(module.BaseModel):  # type: ignore[misc,name-defined]
        run: Callable[[], None]

    with pytest.raises(ConfigError, match="Task has no JSON Schema in pydantic"):
        Schema.of(Task)


def test_fields_of_attrs() -> None:
    module = pytest.importorskip("attrs")

    def twice(found: Any) -> int:
        return 2 * int(found.side)

    square = module.make_class(
        "Square",
        {
            "side": module.field(type=int),
            "area": module.field(type=int, init=False, default=module.Factory(twice, takes_self=True)),
            "_hidden": module.field(type=int, init=False, default=1),
        },
    )
    schema = Schema.of(square)
    assert schema.dump(square(3)) == {"side": 3, "area": 6}
    assert schema.load({"side": 3}) == square(3)
    private = module.make_class("Private", {"_side": module.field(type=int)})
    with pytest.raises(ConfigError, match=r"Private._side is passed as side; give it alias='_side'"):
        Schema.of(private)
