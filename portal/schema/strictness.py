"""Find out which schemas need a walk over the value beside the compiled validator.

jsonschema-rs looks only at what a schema mentions. Under `{}` it accepts NaN, and with a recursive schema a deep value
overflows the native stack. A schema is strict if it states the type of every value that it can reach and contains no
recursion. Its compiled validator alone then rejects everything that is not JSON data.
"""

from __future__ import annotations

from typing import Any

from .jsondata import MAX_DEPTH
from .subschemas import applied_subschemas, map_subschemas, resolve

__all__ = ["check_all_strings", "is_scalar", "is_strict"]

_SCALARS = frozenset(("null", "boolean", "integer", "number", "string"))


def is_strict(schema: Any) -> bool:
    """Return whether the compiled validator alone rejects everything that is not JSON data."""
    return not _RecursionSearch(schema).finds_recursion(schema, (), 0) and _states_types(schema, schema)


def is_scalar(schema: Any) -> bool:
    """Return whether the schema states types, and none of them is a container."""
    stated = schema.get("type") if isinstance(schema, dict) else None
    kinds = [stated] if isinstance(stated, str) else stated
    return isinstance(kinds, list) and all(isinstance(kind, str) and kind in _SCALARS for kind in kinds)


def check_all_strings(schema: Any) -> Any:
    """Return the schema with `pattern: ""` for every string that has no pattern.

    jsonschema-rs reads the characters of a string only if a keyword needs them. Without one it accepts lone surrogates,
    which JSON text cannot contain.
    """
    if not isinstance(schema, dict):
        return schema
    made = map_subschemas(schema, check_all_strings)
    stated = made.get("type", ())
    if "string" in ([stated] if isinstance(stated, str) else stated):
        made.setdefault("pattern", "")
    return made


class _RecursionSearch:
    """One search of a schema for recursion, or for what may hide it."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._searched: set[int] = set()

    def finds_recursion(self, schema: Any, path: tuple[int, ...], depth: int) -> bool:
        """Return whether a schema may be recursive; `path` has the ids of the schemas around it."""
        if not isinstance(schema, dict) or id(schema) in self._searched:
            return False
        if id(schema) in path or depth >= MAX_DEPTH or "$dynamicRef" in schema or "$id" in schema:
            return True
        path = (*path, id(schema))
        if "$ref" in schema:
            target = resolve(self._root, schema["$ref"])
            if target is None or self.finds_recursion(target, path, depth + 1):
                return True
        if any(self.finds_recursion(child, path, depth + 1) for child in applied_subschemas(schema)):
            return True
        self._searched.add(id(schema))
        return False


def _states_types(schema: Any, root: Any) -> bool:
    """Return whether a schema states the type of every value that it can reach."""
    if not isinstance(schema, dict):
        return schema is False
    if "const" in schema or "enum" in schema:
        return True
    if "$ref" in schema and _states_types(resolve(root, schema["$ref"]), root):
        return True
    if any(_states_types(part, root) for part in schema.get("allOf", ())):
        return True
    for key in ("anyOf", "oneOf"):
        if key in schema and all(_states_types(part, root) for part in schema[key]):
            return True
    return "type" in schema and _parts_state_types(schema, root)


def _parts_state_types(schema: dict[str, Any], root: Any) -> bool:
    stated = schema["type"]
    for kind in [stated] if isinstance(stated, str) else stated:
        if kind == "array":
            parts = [*schema.get("prefixItems", ()), schema.get("items", True)]
        elif kind == "object":
            parts = [*schema.get("properties", {}).values(), *schema.get("patternProperties", {}).values()]
            parts.append(schema.get("additionalProperties", True))
        else:
            continue
        if not all(_states_types(part, root) for part in parts):
            return False
    return True
