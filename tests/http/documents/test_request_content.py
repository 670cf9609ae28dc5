from __future__ import annotations

from typing import Annotated, Any

from portal import function
from portal.http.documents.request_content import header_parameters, request_content
from portal.schema import Body, Description, Header


def add(schema: dict[str, Any]) -> dict[str, Any]:
    return schema


def test_headers_with_their_description() -> None:
    @function
    def hook(event: Annotated[str, Header("X-Event"), Description("What happened.")]) -> None: ...

    assert header_parameters(hook.schema) == [
        {
            "name": "X-Event",
            "in": "header",
            "required": True,
            "description": "What happened.",
            "schema": {"type": "string"},
        }
    ]


def test_examples_are_those_of_the_body() -> None:
    example = {"input": {"events": [1], "event": "push"}, "output": None}

    @function(examples=[example])
    def whole(events: Annotated[list[int], Body()], event: Annotated[str, Header("X-Event")]) -> None: ...

    @function(examples=[example])
    def part(events: list[int], event: Annotated[str, Header("X-Event")]) -> None: ...

    shown = {"example1": {"value": example["input"]}}
    content = request_content(whole.schema, add, shown)
    assert content["application/json"]["examples"] == {"example1": {"value": [1]}}
    content = request_content(part.schema, add, shown)
    assert content["application/json"]["examples"] == {"example1": {"value": {"events": [1]}}}
    assert request_content(whole.schema, add, {}) == {
        "application/json": {"schema": {"type": "array", "items": {"type": "integer"}}}
    }


def test_most_functions_take_an_object() -> None:
    @function
    def plain(a: int) -> None: ...

    assert header_parameters(plain.schema) == []
    assert request_content(plain.schema, add, {}) == {"application/json": {"schema": plain.schema.input}}
