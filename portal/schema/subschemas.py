"""Find the schemas inside a JSON Schema: walk them, map them, resolve references among them.

Source: JSON Schema 2020-12 Core, sections 8.2 (references and `$defs`), 10 (applicators) and 11 (unevaluated...);
Validation, section 8.5 (`contentSchema`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["APPLICATORS", "applied_subschemas", "map_subschemas", "map_value", "resolve", "subschemas", "walk"]

# The value of each of these keywords is a schema, an array of schemas, or an object whose values are schemas.
_SCHEMA = frozenset(
    ("items", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "contains", "propertyNames", "not",
     "if", "then", "else", "contentSchema")
)  # fmt: skip
_ARRAY = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_OBJECT = frozenset(("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"))
#: Keywords that hold schemas without applying them to the value.
_NOT_APPLIED = frozenset(("$defs", "definitions", "contentSchema"))
#: Keywords that apply a schema to the value or to a part of it.
APPLICATORS = (_SCHEMA | _ARRAY | _OBJECT) - _NOT_APPLIED


def subschemas(schema: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield (path, schema) for each schema directly inside a schema; the path is relative to it."""
    for key, value in schema.items():
        if key in _SCHEMA:
            yield (key,), value
        elif key in _ARRAY and isinstance(value, list):
            for index, child in enumerate(value):
                yield (key, index), child
        elif key in _OBJECT and isinstance(value, dict):
            for name, child in value.items():
                yield (key, name), child


def applied_subschemas(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield the schemas directly inside a schema that it applies; definitions are applied only by a reference."""
    return (child for path, child in subschemas(schema) if path[0] not in _NOT_APPLIED)


def walk(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and every schema within it, outermost first; examples and defaults are not schemas."""
    if isinstance(schema, dict):
        yield schema
        for _, child in subschemas(schema):
            yield from walk(child)


def map_subschemas(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a copy of a schema in which `change` has replaced each schema directly inside it."""
    return {key: map_value(key, value, change) for key, value in schema.items()}


def map_value(key: str, value: Any, change: Callable[[Any], Any]) -> Any:
    """Return the value of a keyword in which `change` has replaced each schema; other values are returned unchanged."""
    if key in _SCHEMA:
        return change(value)
    if key in _ARRAY and isinstance(value, list):
        return [change(child) for child in value]
    if key in _OBJECT and isinstance(value, dict):
        return {name: change(child) for name, child in value.items()}
    return value


def resolve(root: Any, reference: str) -> Any:
    """Return the schema at a "#/..." reference, or None if the reference leads elsewhere."""
    if reference == "#":
        return root
    if not reference.startswith("#/") or "%" in reference:
        return None
    found = root
    for token in reference[2:].split("/"):
        token = token.replace("~1", "/").replace("~0", "~")
        found = found.get(token) if isinstance(found, dict) else None
    return found
