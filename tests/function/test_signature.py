"""A schema beside the hints: the callable takes what it accepts, or the function is rejected when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import pytest
from marshmallow import EXCLUDE, INCLUDE, Schema, fields, post_load

from portal import CallContext, ConfigError, FunctionError, Service, ValidationError, service
from portal import function as make
from portal.function.signature import given_parameters


def obj(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def hook(event: Any) -> Any:
    return event


def two(a: int, b: int = 2) -> int:
    return a + b


def everything(**members: Any) -> dict[str, Any]:
    return members


def some(a: int, **members: Any) -> list[Any]:
    return [a, members]


def traced(context: CallContext, a: int) -> str:
    return f"{context.request_id} {a}"


def positional(a: int, /) -> int:
    return a


class Loaded(Schema):
    a = fields.Integer(required=True)
    renamed = fields.Integer(attribute="b", load_default=5)


class Open(Schema):
    class Meta:
        unknown = INCLUDE

    a = fields.Integer(required=True)


class Excluding(Schema):
    class Meta:
        unknown = EXCLUDE

    a = fields.Integer(required=True)


class Optional(Schema):
    a = fields.Integer()


class Made(Schema):
    a = fields.Integer(required=True)

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Any:
        return data["a"]


class Params(TypedDict):
    a: int
    b: NotRequired[int]


@dataclass
class Order:
    a: int


REJECTED: list[tuple[Any, Any, str]] = [
    ({"type": "object"}, hook, r"hook requires event, which the input schema does not; .*\*\*members"),
    ({}, hook, "hook requires event"),
    (True, hook, "hook requires event"),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, hook, "must have \\*\\*members"),
    (obj(a={}), two, "two requires a"),
    (obj("a", a={}, c={}), two, "two has no parameter c"),
    (obj("a", a={}) | {"additionalProperties": True}, two, "must have \\*\\*members"),
    (obj("a", a={}) | {"patternProperties": {"^x-": {}}}, two, "must have \\*\\*members"),
    ({"$ref": "#/$defs/a", "$defs": {"a": obj("a", a={}, c={})}}, two, "two has no parameter c"),
    ({"type": "object", "allOf": [obj("b", b={})]}, two, "two requires a"),
    (obj("a", a={}), positional, "positional-only"),
    (Loaded, hook, "has no parameter a"),
    (Open, two, "must have \\*\\*members"),
    (Optional, two, "two requires a"),
    ({"c": fields.Integer()}, two, "has no parameter c"),
    (Order, two, "must be a TypedDict or a dict"),
    (dict[str, int], two, "must have \\*\\*members"),
]


@pytest.mark.parametrize(("source", "target", "reason"), REJECTED)
def test_a_schema_that_the_callable_does_not_take_is_rejected(source: Any, target: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make(input=source)(target)


WORKS: list[tuple[Any, Any, dict[str, Any], Any]] = [
    (obj("event", event={}), hook, {"event": [1]}, [1]),
    ({"type": "object"}, everything, {"a": 1, "self": 2, "a b": 3}, {"a": 1, "self": 2, "a b": 3}),
    ({}, everything, {"a": 1}, {"a": 1}),
    (obj("a", a={}), some, {"a": 1, "b": 2}, [1, {"b": 2}]),
    (obj("a", a={}), two, {"a": 1}, 3),
    (obj(a={"default": 4}), two, {}, 6),
    (obj("a", a={}), traced, {"a": 1}, "r1 1"),
    ({"$ref": "#/$defs/a", "$defs": {"a": obj("a", a={})}}, two, {"a": 1}, 3),
    ({"type": "object", "anyOf": [obj("a", a={}), obj("a", "b", a={}, b={})]}, two, {"a": 1}, 3),
    (Loaded, two, {"a": 1}, 6),
    (Excluding, two, {"a": 1, "x": 2}, 3),
    (Open, some, {"a": 1, "x": 2}, [1, {"x": 2}]),
    ({"a": fields.Integer(required=True)}, two, {"a": "1"}, 3),
    (Params, two, {"a": 1, "b": 5}, 6),
    (dict[str, int], everything, {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("source", "target", "params", "result"), WORKS)
def test_a_schema_that_the_callable_takes_works(source: Any, target: Any, params: Any, result: Any) -> None:
    assert make(input=source, output={})(target).invoke(params, CallContext(request_id="r1")) == result


COMPOSED = {"type": "object", "allOf": [obj("a", a={})]}


@pytest.mark.parametrize("source", [obj("a", a={}), COMPOSED, {**COMPOSED, "properties": {"b": {}}}])
def test_unknown_parameters_are_rejected_as_with_hints(source: Any) -> None:
    made = make(input=source)(two)
    assert made.invoke({"a": 1}, CallContext()) == 3
    with pytest.raises(ValidationError) as caught:
        made.invoke({"a": 1, "c": 1}, CallContext())
    assert [(fault.path, fault.rule) for fault in caught.value.errors] == [("/c", "additionalProperties")]


def test_the_schema_says_that_other_members_are_rejected() -> None:
    assert make(input=obj("a", a={}))(two).schema.input["additionalProperties"] is False
    assert "additionalProperties" not in make(input=obj("a", a={}))(some).schema.input


def test_a_hook_that_makes_no_arguments_is_a_failure_of_the_function() -> None:
    made = make(input=Made)(two)
    with pytest.raises(FunctionError, match="return a dict from post_load"):
        made.invoke({"a": 1}, CallContext())


def test_a_function_without_a_signature_is_not_compared() -> None:
    assert given_parameters(dict, obj(a={})).names == ("a",)


def test_the_instance_of_a_method_is_no_parameter() -> None:
    with pytest.raises(ConfigError, match="has no parameter sku"):

        @service
        class Wrong:
            @make(input=obj("sku", sku={}))
            def other(self, name: str = "") -> str:
                return name

    @service
    class Right:
        @make(input=obj("sku", sku={"type": "string"}), output={"type": "string"})
        def level(self, sku: str) -> str:
            return sku

    assert Service.of(Right)["level"].invoke({"sku": "a"}, CallContext()) == "a"
