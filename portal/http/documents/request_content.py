"""The request of a function in OpenAPI: its body, and the parameters that are headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...schema import FunctionSchema
from ...schema.transfer import Transfer
from ..messages.event_stream import JSON
from ..messages.multipart import MULTIPART
from ..messages.transfer import FORM

__all__ = ["BINARY", "header_parameters", "request_content"]

#: The schema of a file as itself. Pages show a field for a file.
BINARY = {"type": "string", "format": "binary"}


def header_parameters(schema: FunctionSchema) -> list[dict[str, Any]]:
    """Return a Parameter Object for each parameter that is a header."""
    transfer = schema.transfer
    if transfer is None:
        return []
    required = schema.input.get("required", ())
    properties = schema.input["properties"]
    found = []
    for name, header, _ in transfer.headers:
        part = {key: value for key, value in properties[name].items() if key != "x-header"}
        words = {"description": part.pop("description")} if "description" in part else {}
        found.append({"name": header, "in": "header", "required": name in required, **words, "schema": part})
    return found


def request_content(
    schema: FunctionSchema, add: Callable[[dict[str, Any]], dict[str, Any]], examples: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of a request: media type -> Media Type Object.

    Args:
        add: adds a schema to the components, and returns the reference to it.
        examples: inputs of the function, as Example Objects by name.
    """
    transfer = schema.transfer
    if transfer is None:
        return {JSON: {"schema": add(schema.input)} | ({"examples": dict(examples)} if examples else {})}
    left_out = {one.name for one in transfer.headers}
    shown: dict[str, Any] = {}
    for name, example in examples.items():
        value = example["value"]
        if transfer.body is None:
            shown[name] = {"value": {key: part for key, part in value.items() if key not in left_out}}
        elif transfer.body in value:
            shown[name] = {"value": value[transfer.body]}
    if transfer.files:
        return _file_content(schema, transfer, add)
    media = {"schema": add(transfer.body_schema(schema.input))} | ({"examples": shown} if shown else {})
    return {JSON: media, FORM: media} if transfer.forms else {JSON: media}


def _file_content(
    schema: FunctionSchema, transfer: Transfer, add: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Return the content of a request with files: a form, the file alone where there is one, or JSON with base64."""
    whole = transfer.body_schema(schema.input)
    files = dict(transfer.files)
    fields = {
        name: _file_field(part, is_list=name in transfer.lists) if name in files else part
        for name, part in whole["properties"].items()
    }
    form = {**whole, "properties": fields}
    alone = {"application/octet-stream": {"schema": BINARY}} if len(files) == 1 and not transfer.lists else {}
    return {MULTIPART: {"schema": form}, **alone, JSON: {"schema": add(whole)}}


def _file_field(part: Mapping[str, Any], *, is_list: bool) -> dict[str, Any]:
    """Return the schema of a field for a file, or for several; each is a part of the form with the same name."""
    if not is_list:
        return {**BINARY, **_words_of(part)}
    array = next((one for one in part.get("anyOf", ()) if one.get("type") == "array"), part)
    bounds = {name: array[name] for name in ("minItems", "maxItems") if name in array}
    return {"type": "array", "items": BINARY, **bounds, **_words_of(part)}


def _words_of(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": part["description"]} if "description" in part else {}
