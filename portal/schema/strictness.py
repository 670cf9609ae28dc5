"""Which schemas need the exact JSON walk beside the compiled check.

jsonschema-rs looks only at what a schema mentions: under `{}` it takes NaN, and with a recursive schema a deep value
overflows the native stack. A schema is closed when the type of every value it can reach is stated and nothing in it is
recursive; then the compiled check alone suffices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .jsondata import MAX_DEPTH

__all__ = ["is_closed", "is_scalar", "reading_text"]

_SCALARS = frozenset(("null", "boolean", "integer", "number", "string"))
_ONE = (
    "items",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
)
_MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas")


def is_closed(schema: Any) -> bool:
    """Whether the compiled check alone refuses all that is no JSON data under this schema."""
    return not _Refs(schema).recursive(schema, (), 0) and _closed(schema, schema)


def is_scalar(schema: Any) -> bool:
    """Whether the schema states types, and no container among them."""
    stated = schema.get("type") if isinstance(schema, dict) else None
    kinds = [stated] if isinstance(stated, str) else stated
    return isinstance(kinds, list) and all(isinstance(kind, str) and kind in _SCALARS for kind in kinds)


def reading_text(schema: Any) -> Any:
    """The same schema, with `pattern: ""` wherever text is asked for without a pattern.

    jsonschema-rs looks into text only where a rule wants it to; else it takes lone surrogates, which no JSON carries.
    """
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for name in _ONE:
        if name in made:
            made[name] = reading_text(made[name])
    for name in _MANY:
        if name in made:
            made[name] = [reading_text(part) for part in made[name]]
    for name in (*_NAMED, "$defs", "definitions"):
        if name in made:
            made[name] = {key: reading_text(part) for key, part in made[name].items()}
    stated = made.get("type", ())
    if "string" in ([stated] if isinstance(stated, str) else stated):
        made.setdefault("pattern", "")
    return made


class _Refs:
    def __init__(self, root: Any) -> None:
        self.root = root
        self.done: set[int] = set()

    def recursive(self, schema: Any, path: tuple[int, ...], depth: int) -> bool:
        if not isinstance(schema, dict) or id(schema) in self.done:
            return False
        if id(schema) in path or depth >= MAX_DEPTH or "$dynamicRef" in schema or "$id" in schema:
            return True
        path = (*path, id(schema))
        if "$ref" in schema:
            target = resolve(self.root, schema["$ref"])
            if target is None or self.recursive(target, path, depth + 1):
                return True
        if any(self.recursive(child, path, depth + 1) for child in _children(schema)):
            return True
        self.done.add(id(schema))
        return False


def _children(schema: dict[str, Any]) -> Iterator[Any]:
    for key in _ONE:
        if key in schema:
            yield schema[key]
    for key in _MANY:
        yield from schema.get(key, ())
    for key in _NAMED:
        yield from schema.get(key, {}).values()


def resolve(root: Any, reference: str) -> Any:
    """The schema at a "#/..." reference, or None where it leads elsewhere."""
    if reference == "#":
        return root
    if not reference.startswith("#/") or "%" in reference:
        return None
    found = root
    for token in reference[2:].split("/"):
        token = token.replace("~1", "/").replace("~0", "~")
        found = found.get(token) if isinstance(found, dict) else None
    return found


def _closed(schema: Any, root: Any) -> bool:
    if not isinstance(schema, dict):
        return schema is False
    if "const" in schema or "enum" in schema:
        return True
    if "$ref" in schema and _closed(resolve(root, schema["$ref"]), root):
        return True
    if any(_closed(part, root) for part in schema.get("allOf", ())):
        return True
    for key in ("anyOf", "oneOf"):
        if key in schema and all(_closed(part, root) for part in schema[key]):
            return True
    return "type" in schema and _closed_types(schema, root)


def _closed_types(schema: dict[str, Any], root: Any) -> bool:
    stated = schema["type"]
    for kind in [stated] if isinstance(stated, str) else stated:
        if kind == "array":
            parts = [*schema.get("prefixItems", ()), schema.get("items", True)]
        elif kind == "object":
            parts = [*schema.get("properties", {}).values(), *schema.get("patternProperties", {}).values()]
            parts.append(schema.get("additionalProperties", True))
        else:
            continue
        if not all(_closed(part, root) for part in parts):
            return False
    return True
