"""Where the parameters of a function come from in an HTTP request, when they are not members of a JSON object.

Markers in hints become keywords of the JSON Schema, which travels to clients and into documents:

    Annotated[str, Header("X-Event")]     "x-header": "X-Event"
    Annotated[list[Event], Body()]        "x-body": "json", or "form" where forms are accepted too

Other transports ignore them: there the parameter is a member like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .._internal.settings import flag, text
from ..errors import ConfigError

__all__ = ["Body", "Header", "HeaderParameter", "Transfer", "file_kind", "transfer_of"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
#: Headers that say how a message is sent, or who may call. A function gets neither.
_RESERVED = frozenset(
    {"authorization", "connection", "content-encoding", "content-length", "cookie", "expect", "host", "te", "trailer",
     "proxy-authorization", "transfer-encoding", "upgrade"}
)  # fmt: skip
_SCALARS = frozenset({"string", "integer", "number", "boolean", "null"})


@dataclass(frozen=True, slots=True)
class Header:
    """The value is a header of the HTTP request: `Annotated[str, Header("X-Event")]`.

    The type must be a string, a number, a boolean, or one of them and None.

    Raises: ConfigError for an invalid header name, and for a header that authenticates or controls the request.
    """

    name: str

    def __post_init__(self) -> None:
        _header_of(self.name)


@dataclass(frozen=True, slots=True)
class Body:
    """The value is the whole body of the HTTP request, such as an array: `Annotated[list[Event], Body()]`.

    Args:
        forms: whether a form (application/x-www-form-urlencoded) is accepted, too. It becomes an object of strings; a
            name that is repeated has a list of them.
    """

    forms: bool = False

    def __post_init__(self) -> None:
        flag("body.forms", self.forms)


class HeaderParameter(NamedTuple):
    """A parameter that is a header.

    Attributes:
        name: of the parameter.
        header: the name of the header.
        types: JSON types of its values.
    """

    name: str
    header: str
    types: frozenset[str]


@dataclass(frozen=True, slots=True)
class Transfer:
    """The parts of an HTTP request outside the members of its JSON object.

    Attributes:
        headers: the parameters that are headers.
        body: the parameter that is the whole body, or None.
        forms: whether that body may be a form.
        files: the parameters that are files or lists of files, each with their kind, "file" or "bytes".
        lists: those of them that are lists of files.
        result: the kind of a result that is a file, or "".
    """

    headers: tuple[HeaderParameter, ...] = ()
    body: str | None = None
    forms: bool = False
    files: tuple[tuple[str, str], ...] = ()
    lists: frozenset[str] = frozenset()
    result: str = ""

    def body_schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON Schema of the body of a request, from the input schema."""
        properties = schema.get("properties", {})
        defs = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        if self.body is not None:
            return {**_without_keywords(properties[self.body]), **defs}
        names = {one.name for one in self.headers}
        found = {**schema, "properties": {name: part for name, part in properties.items() if name not in names}}
        if "required" in schema:
            found["required"] = [name for name in schema["required"] if name not in names]
        return {name: part for name, part in found.items() if name != "required" or part}


def transfer_of(
    schema: Mapping[str, Any], output: Mapping[str, Any] | None = None, where: str = "input"
) -> Transfer | None:
    """Return the transfer that the schemas describe; None if all is JSON, and all parameters members of an object.

    Args:
        schema: the input schema.
        output: the output schema of a function that is no stream.
        where: the function, for messages.

    Raises: ConfigError for markers that contradict each other.
    """
    result = file_kind(output) if output else ""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return Transfer(result=result) if result else None
    parts = {name: part for name, part in properties.items() if isinstance(part, Mapping)}
    headers = tuple(
        HeaderParameter(name, _header_of(part["x-header"]), _types_of(part, f"{where}({name})"))
        for name, part in parts.items()
        if isinstance(part.get("x-header"), str)
    )
    bodies = [name for name, part in parts.items() if part.get("x-body") in ("json", "form")]
    files = tuple((name, kind) for name, part in parts.items() if (kind := file_kind(part) or _item_kind_of(part)))
    lists = frozenset(name for name, _ in files if _item_kind_of(parts[name]))
    if not headers and not bodies and not files and not result:
        return None
    names = [one.header.lower() for one in headers]
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: each header must be one parameter", path=where)
    others = [name for name in parts if name not in bodies[:1] and name not in {one.name for one in headers}]
    if bodies and others:
        message = f"{where}: {others[0]} must be a header, because {bodies[0]} is the whole body"
        raise ConfigError(message, path=f"{where}.{others[0]}", expected='Annotated[..., Header("X-...")]')
    return Transfer(headers, bodies[0] if bodies else None, _takes_forms(parts, bodies), files, lists, result)


def _takes_forms(parts: Mapping[str, Mapping[str, Any]], bodies: list[str]) -> bool:
    return bool(bodies) and parts[bodies[0]]["x-body"] == "form"


def file_kind(part: Mapping[str, Any]) -> str:
    """Return the kind of file that a schema describes, "file" or "bytes", also beside null; "" for anything else."""
    for one in _alternatives(part):
        if one.get("x-file") in ("file", "bytes"):
            return str(one["x-file"])
    return ""


def _item_kind_of(part: Mapping[str, Any]) -> str:
    """Return the kind of the files in the list that a schema describes, also beside null; "" for anything else."""
    for one in _alternatives(part):
        items = one.get("items")
        if one.get("type") == "array" and isinstance(items, Mapping) and items.get("x-file") in ("file", "bytes"):
            return str(items["x-file"])
    return ""


def _alternatives(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield part
    choices = part.get("anyOf")
    yield from (one for one in choices if isinstance(one, Mapping)) if isinstance(choices, list) else ()


def _header_of(name: str) -> str:
    """Return the name of a header.

    The schema may come from a hostile server, which must not choose the bytes of a request.

    Raises: ConfigError for an invalid header name, and for a header that authenticates or controls the request.
    """
    expected = 'the name of a header, such as "X-Event"'
    text("header.name", name, pattern=_TOKEN, expected=expected)
    if name.lower() in _RESERVED:
        expected = "a header that neither authenticates nor controls the request"
        raise ConfigError.invalid("header.name", name, expected)
    return name


def _types_of(part: Mapping[str, Any], where: str) -> frozenset[str]:
    """Return the JSON types of the values of a header. Raises: ConfigError if they are not all scalars."""
    given, choices = part.get("type"), part.get("anyOf")
    listed = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    found = {one for one in listed if isinstance(one, str)}
    for one in choices if isinstance(choices, list) else []:
        found |= _types_of(one if isinstance(one, Mapping) else {}, where)
    if "enum" in part and not found:
        found = {"string"}
    if not found or not found <= _SCALARS:
        message = f"{where}: a header must be a string, a number or a boolean"
        raise ConfigError(message, path=where, expected="a scalar type")
    return frozenset(found)


def _without_keywords(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "x-body"}
