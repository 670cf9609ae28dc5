from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest

from portal import ConfigError, FunctionSchema, SerializationError, function
from portal.schema import Body, Header
from portal.schema.transfer import HeaderParameter, Transfer, transfer_of


def schema_of(target: Callable[..., Any]) -> FunctionSchema:
    return function(target).schema


def test_headers_and_the_whole_body() -> None:
    def hook(
        events: Annotated[list[dict[str, Any]], Body(forms=True)],
        event: Annotated[str, Header("X-Event")],
        attempt: Annotated[int | None, Header("X-Attempt")] = None,
        mode: Annotated[Literal["live", "test"], Header("X-Mode")] = "live",
    ) -> None: ...

    schema = schema_of(hook)
    assert schema.transfer == Transfer(
        (
            HeaderParameter("event", "X-Event", frozenset({"string"})),
            HeaderParameter("attempt", "X-Attempt", frozenset({"integer", "null"})),
            HeaderParameter("mode", "X-Mode", frozenset({"string"})),
        ),
        "events",
        forms=True,
    )
    assert schema.transfer.body_schema(schema.input)["type"] == "array"
    assert "x-body" not in schema.transfer.body_schema(schema.input)
    assert FunctionSchema.from_dict(schema.to_dict()).transfer == schema.transfer


def test_an_object_without_its_headers() -> None:
    def hook(name: str, event: Annotated[str, Header("X-Event")]) -> None: ...

    schema = schema_of(hook)
    assert schema.transfer is not None
    body = schema.transfer.body_schema(schema.input)
    assert list(body["properties"]) == body["required"] == ["name"]

    def only(event: Annotated[str, Header("X-Event")]) -> None: ...

    schema = schema_of(only)
    assert schema.transfer is not None
    assert "required" not in schema.transfer.body_schema(schema.input)


def test_most_functions_have_none() -> None:
    assert transfer_of({}) is None
    assert transfer_of({"properties": {"a": True, "b": {"type": "string"}}}) is None


def two_bodies(a: Annotated[list[int], Body()], b: Annotated[list[int], Body()]) -> None: ...
def beside(a: Annotated[list[int], Body()], b: int = 0) -> None: ...
def one_header_twice(a: Annotated[str, Header("X-A")], b: Annotated[str, Header("x-a")]) -> None: ...
def list_in_a_header(a: Annotated[list[str], Header("X-A")]) -> None: ...
def anything_in_a_header(a: Annotated[Any, Header("X-A")]) -> None: ...


@pytest.mark.parametrize(
    "target",
    [two_bodies, beside, one_header_twice, list_in_a_header, anything_in_a_header],
    ids=lambda one: one.__name__,
)
def test_contradictions_are_rejected_when_the_function_is_made(target: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError):
        function(target)


def test_a_server_cannot_send_a_contradiction() -> None:
    data = {"name": "f", "input": {"properties": {"a": {"x-body": "json"}, "b": {}}}}
    with pytest.raises(SerializationError):
        FunctionSchema.from_dict(data)


@pytest.mark.parametrize("name", ["", "X Event", "Cookie", "authorization", "Content-Length", 3])
def test_wrong_headers_are_rejected(name: Any) -> None:
    with pytest.raises(ConfigError):
        Header(name)


def test_wrong_bodies_are_rejected() -> None:
    with pytest.raises(ConfigError):
        Body(forms="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["X-A\r\nX-B: 1", "X A", "", "X-\u20ac", "Content-Length", "authorization", "Host"])
def test_a_server_does_not_choose_the_bytes_of_a_request(name: str) -> None:
    part = {"type": "string", "x-header": name}
    with pytest.raises(SerializationError, match="header"):
        FunctionSchema.from_dict({"name": "f", "input": {"type": "object", "properties": {"a": part}}})


@pytest.mark.parametrize("part", [{"anyOf": [1]}, {"anyOf": 5}, {"type": [["a"]]}, {"type": [{}]}, {"type": 5}])
def test_the_types_of_a_header_may_be_anything(part: dict[str, Any]) -> None:
    properties = {"a": {"x-header": "X-A", **part}}
    with pytest.raises(SerializationError, match="must be a string, a number or a boolean"):
        FunctionSchema.from_dict({"name": "f", "input": {"type": "object", "properties": properties}})
