"""MarshmallowSchema: coercions, faults, and the JSON Schema of fields."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from marshmallow import EXCLUDE, Schema, fields, validate

from portal import Consumer, HTTPPortal, LocalPortal, Portal, ValidationError, function
from portal import Schema as PortalSchema
from portal.schema.marshmallow_schema import MarshmallowSchema, is_marshmallow


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Item(Schema):
    sku = fields.String(required=True, validate=validate.Length(min=1, max=8))
    quantity = fields.Integer(load_default=1, validate=validate.Range(min=1), metadata={"description": "how many"})
    price = fields.Decimal(as_string=True)


class Order(Schema):
    items = fields.List(fields.Nested(Item), required=True, validate=validate.Length(min=1))
    due = fields.Date(allow_none=True, data_key="dueDate")


class Loose(Schema):
    class Meta:
        unknown = EXCLUDE

    name = fields.String()


def test_is_marshmallow_recognizes_classes_instances_and_dicts_of_fields() -> None:
    assert is_marshmallow(Order)
    assert is_marshmallow(Order())
    assert is_marshmallow({"a": fields.Integer()})
    assert not is_marshmallow({})
    assert not is_marshmallow({"type": "object"})
    assert not is_marshmallow(int)
    assert not is_marshmallow(3)


def test_load_and_dump_keep_the_coercions_of_marshmallow() -> None:
    schema = PortalSchema.of(Order)
    assert isinstance(schema, MarshmallowSchema)
    loaded = schema.load({"items": [{"sku": "a", "quantity": "3", "price": "1.5"}], "dueDate": "2026-01-02"})
    assert loaded == {"items": [{"sku": "a", "quantity": 3, "price": Decimal("1.5")}], "due": date(2026, 1, 2)}
    assert schema.dump(loaded)["items"][0]["price"] == "1.5"
    assert schema.accepts({"items": [{"sku": "a", "quantity": "3"}]})
    assert schema.to_marshmallow() is Order


def test_faults_have_paths() -> None:
    with pytest.raises(ValidationError) as caught:
        PortalSchema.of(Order).load({"items": [{"quantity": 0}, 3], "x/y": 1})
    paths = {fault.path for fault in caught.value.errors}
    assert paths == {"/items/0/sku", "/items/0/quantity", "/items/1", "/x~1y"}


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, object(), {"name": "\ud800"}])
def test_a_value_that_is_not_json_data_is_rejected(value: Any) -> None:
    schema = PortalSchema.of(Loose)
    assert not schema.accepts(value)
    with pytest.raises(ValidationError):
        schema.load(value)


def test_dump_validates_as_load_does() -> None:
    schema = PortalSchema.of({"n": fields.Integer(required=True, validate=validate.Range(min=1))})
    assert schema.dump({"n": 2}) == {"n": 2}
    with pytest.raises(ValidationError):
        schema.dump({"n": 0})
    with pytest.raises(ValidationError):
        schema.dump({"n": "many"})


FIELDS: list[tuple[Callable[[], Any], dict[str, Any]]] = [
    (lambda: fields.String(), {"type": "string"}),
    (lambda: fields.Integer(), {"type": "integer"}),
    (lambda: fields.Float(), {"type": "number"}),
    (lambda: fields.Decimal(), {"type": "number"}),
    (lambda: fields.Decimal(as_string=True), {"type": "string", "format": "decimal"}),
    (lambda: fields.Boolean(), {"type": "boolean"}),
    (lambda: fields.Date(), {"type": "string", "format": "date"}),
    (lambda: fields.Time(), {"type": "string", "format": "time"}),
    (lambda: fields.AwareDateTime(), {"type": "string", "format": "date-time"}),
    (lambda: fields.DateTime(format="timestamp"), {}),
    (lambda: fields.UUID(), {"type": "string", "format": "uuid"}),
    (lambda: fields.Email(), {"type": "string", "format": "email"}),
    (lambda: fields.Url(), {"type": "string", "format": "uri"}),
    (lambda: fields.IPv4(), {"type": "string", "format": "ipv4"}),
    (lambda: fields.TimeDelta(), {"type": "integer"}),
    (lambda: fields.Raw(), {}),
    (lambda: fields.Constant(3), {"const": 3, "default": 3}),
    (lambda: fields.Enum(Size), {"enum": ["SMALL", "LARGE"]}),
    (lambda: fields.Enum(Size, by_value=True), {"enum": ["s", "l"]}),
    (lambda: fields.List(fields.Integer()), {"type": "array", "items": {"type": "integer"}}),
    (lambda: fields.Dict(), {"type": "object"}),
    (
        lambda: fields.Dict(values=fields.Integer()),
        {"type": "object", "additionalProperties": {"type": "integer"}},
    ),
    (
        lambda: fields.Tuple((fields.String(), fields.Integer())),
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
    ),
    (lambda: fields.Nested(Loose), {"type": "object", "properties": {"name": {"type": "string"}}}),
    (
        lambda: fields.Nested(Loose, many=True),
        {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    ),
    (lambda: fields.Pluck(Loose, "name"), {"type": "string"}),
    (lambda: fields.Pluck(Loose, "name", many=True), {"type": "array", "items": {"type": "string"}}),
    (lambda: fields.Integer(allow_none=True), {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    (lambda: fields.Integer(load_default=3), {"type": "integer", "default": 3}),
    (lambda: fields.Integer(metadata={"description": "n"}), {"type": "integer", "description": "n"}),
    (lambda: fields.Integer(validate=validate.Range(1, 5)), {"type": "integer", "minimum": 1, "maximum": 5}),
    (
        lambda: fields.Integer(validate=validate.Range(1, 5, min_inclusive=False, max_inclusive=False)),
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 5},
    ),
    (lambda: fields.String(validate=validate.Length(equal=2)), {"type": "string", "minLength": 2, "maxLength": 2}),
    (lambda: fields.String(validate=validate.OneOf(["a", "b"])), {"type": "string", "enum": ["a", "b"]}),
    (lambda: fields.String(validate=validate.NoneOf(["a"])), {"type": "string", "not": {"enum": ["a"]}}),
    (lambda: fields.String(validate=validate.Equal("a")), {"type": "string", "const": "a"}),
    (lambda: fields.String(validate=bool), {"type": "string"}),
]


@pytest.mark.parametrize(("field", "json"), FIELDS)
def test_the_json_schema_of_a_field(field: Callable[[], Any], json: dict[str, Any]) -> None:
    assert PortalSchema.of({"f": field()}).json["properties"]["f"] == json


def test_unknown_raise_and_many_have_their_keywords() -> None:
    assert PortalSchema.of(Order).json["additionalProperties"] is False
    assert "additionalProperties" not in PortalSchema.of(Loose).json
    assert PortalSchema.of(Loose(many=True)).json["type"] == "array"


@function(input=Order, output=Item)
def first(items: list[Any], due: date | None = None) -> Any:
    """The first item of an order."""
    return items[0]


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal])
def test_a_function_with_marshmallow_schemas_is_called(kind: type[Portal]) -> None:
    with kind() as portal, Consumer([portal]) as consumer:
        address = portal.apply(first)
        result = consumer.call_at(address, {"items": [{"sku": "a", "quantity": "2", "price": "2.50"}]})
        assert result == {"sku": "a", "quantity": 2, "price": "2.50"}
        with pytest.raises(ValidationError) as caught:
            consumer.call_at(address, {"items": [{"sku": ""}], "more": 1})
        assert {fault.path for fault in caught.value.errors} == {"/items/0/sku", "/more"}
