"""Rewrite a JSON Schema for readers of OpenAPI and OpenRPC documents, such as client generators.

Many of them support less than JSON Schema 2020-12: no boolean schemas, no `const` of an array, no type null but beside
another one, no list of several types, and no formats that Portal defines. The rewritten schema accepts the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..jsondata import MEMBER_NAMES, SCALAR_TYPES
from ..subschemas import map_value

__all__ = ["portable"]

#: Keywords whose value may stay true or false; readers support it there.
_MAY_BE_BOOLEAN = frozenset(("additionalProperties", "unevaluatedProperties"))
_DROPPED = frozenset(("$schema", "$id", "$anchor", "$comment"))

#: Formats that accept more than JSON Schema defines: a time without an offset, a duration with a sign or fractions.
_WIDER_FORMATS = frozenset(("time", "duration"))
_SCALARS = frozenset(("boolean", "integer", "number", "string"))
_NULL = {"type": "null"}
_NULL_ALONE = {"const": None}

_SECONDS = "[0-9]{1,8}([.][0-9]{1,6})?S"
_TIME = f"T([0-9]{{1,8}}H([0-9]{{1,8}}M)?({_SECONDS})?|[0-9]{{1,8}}M({_SECONDS})?|{_SECONDS})"
#: After 900 million days or more only less than a day may follow: a timedelta ends with day 999,999,999.
_REST_OF_DAY = "T([0-9]{1,4}|[1-7][0-9]{4}|8[0-5][0-9]{3}|86[0-3][0-9]{2})([.][0-9]{1,6})?S"
_DAYS = f"([0-9]{{1,8}}|[0-8][0-9]{{8}})D({_TIME})?|9[0-9]{{8}}D({_REST_OF_DAY})?"
#: Format or encoding -> the pattern that tells a reader what Portal accepts.
_PATTERNS = {
    "decimal": "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,9})?$",
    "duration": f"^(?!-P9{{9}}DT)-?P([0-9]{{1,8}}W|{_DAYS}|{_TIME})$",
    "time": "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$",
    "base64": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}


def portable(schema: Any, rename: Callable[[str], str], *, formats: bool) -> Any:
    """Return a copy of a schema that accepts the same values and that most readers support.

    Args:
        schema: the schema.
        rename: old reference -> new reference.
        formats: whether the formats are validated; the copy then has a pattern for each of Portal's own.
    """
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            found[key] = rename(value)
        elif key in _MAY_BE_BOOLEAN and isinstance(value, bool):
            found[key] = value
        elif key == "const" and isinstance(value, dict | list):
            found["enum"] = [value]  # generators support const for scalars only
        elif key not in _DROPPED:
            found[key] = map_value(key, value, lambda part: portable(part, rename, formats=formats))
    if isinstance(found.get("const"), str) and "type" not in found:  # generators would take it for any value
        found = {"type": "string", **found}
    if isinstance(found.get("enum"), list):
        found = _with_typed_enum(found)
        names = found.get(MEMBER_NAMES)
        if not isinstance(names, list) or len(names) != len(found.get("enum", ())):
            found.pop(MEMBER_NAMES, None)  # they are in the order of choices that are now grouped by type
    found = _with_one_type(_with_short_tuple(found))
    if found.get("format") == "decimal":  # some generators take such text for a binary float
        found["x-format"] = found.pop("format")
    return _with_pattern(found) if formats else found


def _with_one_type(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with `anyOf` in place of several types, and without the type null where no other one is."""
    if schema.get("type") in ("null", ["null"]):
        del schema["type"]
        schema |= _NULL_ALONE
    for union in ("anyOf", "oneOf"):
        if isinstance(schema.get(union), list):
            schema[union] = [dict(_NULL) if member == _NULL_ALONE else member for member in schema[union]]
    if {"type": "number"} in schema.get("anyOf", ()):  # each integer is a number
        schema["anyOf"] = [
            one for one in schema["anyOf"] if not (isinstance(one, dict) and one.get("type") == "integer")
        ]
        if len(schema["anyOf"]) == 1:
            del schema["anyOf"]
            schema["type"] = "number"
    kinds = schema.get("type")
    if isinstance(kinds, list) and len(kinds) == 1:
        schema["type"] = kinds[0]
    elif isinstance(kinds, list) and len(set(kinds) - {"null"}) > 1 and not {"anyOf", "enum", "const"} & schema.keys():
        del schema["type"]
        schema["anyOf"] = [{"type": kind} for kind in kinds]
    return schema


def _with_short_tuple(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with `maxItems` in place of `items: false` after `prefixItems`.

    `items` then applies to nothing. It tells a reader that knows no `prefixItems` the type that all items have.
    """
    prefix = schema.get("prefixItems")
    if isinstance(prefix, list) and schema.get("items") == {"not": {}}:
        kinds = {str(part.get("type")) if isinstance(part, dict) else "" for part in prefix}
        schema["items"] = {"type": kinds.pop()} if len(kinds) == 1 and kinds <= _SCALARS else {}
        limit = schema.get("maxItems", len(prefix))
        schema["maxItems"] = min(limit, len(prefix)) if isinstance(limit, int | float) else len(prefix)
    return schema


def _with_pattern(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with a pattern for its format; a format that means more here becomes `x-format`."""
    kind = schema.get("format", schema.get("x-format", schema.get("contentEncoding")))
    pattern = _PATTERNS.get(str(kind))
    if pattern is not None and not {"pattern", "enum", "const"} & schema.keys():
        schema["pattern"] = pattern
    if schema.get("format") in _WIDER_FORMATS:
        schema["x-format"] = schema.pop("format")
    return schema


def _with_typed_enum(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with its choices grouped by type: generators make enumerations of one type only."""
    by_type: dict[str, list[Any]] = {}
    for value in schema["enum"]:
        kind = SCALAR_TYPES.get(type(value))
        if kind is None:
            return schema
        by_type.setdefault(kind, []).append(value)
    if "anyOf" in schema or (isinstance(schema.get("type"), str) and list(by_type) != [schema["type"]]):
        return schema
    if len(by_type) == 1:
        return {key: value for key, value in schema.items() if key != "enum"} | _one_type_of(*by_type.popitem())
    parts = [_one_type_of(name, values) for name, values in by_type.items()]
    return {key: value for key, value in schema.items() if key not in ("type", "enum")} | {"anyOf": parts}


def _one_type_of(kind: str, values: list[Any]) -> dict[str, Any]:
    """Return the schema of choices of one type. Generators have no enumerations of booleans, and null is a type."""
    if kind == "null":
        return {"type": kind}
    if kind == "boolean":
        return {"type": kind} if len(set(values)) == 2 else {"type": kind, "not": {"const": not values[0]}}
    return {"type": kind, "enum": values}
