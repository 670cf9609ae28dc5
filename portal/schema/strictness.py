"""Find out which schemas need a walk over the value beside the compiled validator.

jsonschema-rs looks only at what a schema mentions. Under `{}` it accepts NaN, and with a recursive schema a deep value
overflows the native stack. A schema is strict if it states the type of every value that it can reach and contains no
recursion. Its compiled validator alone then rejects everything that is not JSON data, at any depth.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .jsondata import MAX_DEPTH
from .subschemas import applied_subschemas, map_subschemas, resolve

__all__ = ["check_all_strings", "is_scalar", "is_strict"]

_SCALARS = frozenset(("null", "boolean", "integer", "number", "string"))


def is_strict(schema: Any) -> bool:
    """Return whether the compiled validator alone rejects everything that is not JSON data."""
    return _Nesting(schema).height(schema, ()) < MAX_DEPTH and _StatedTypes(schema).are_in(schema)


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


class _Nesting:
    """The depths of the schemas below a root, references included."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._heights: dict[int, float] = {}

    def height(self, schema: Any, path: tuple[int, ...]) -> float:
        """Return how many schemas are nested below a schema; infinity if it is recursive, or may be.

        Args:
            schema: the schema.
            path: the ids of the schemas around it.
        """
        if not isinstance(schema, dict):
            return -1  # true and false add nothing to the height of the schema around them
        if id(schema) in self._heights:
            return self._heights[id(schema)]
        if id(schema) in path or len(path) >= MAX_DEPTH or "$dynamicRef" in schema or "$id" in schema:
            return inf
        parts = list(applied_subschemas(schema))
        if "$ref" in schema:
            target = resolve(self._root, schema["$ref"])
            if target is None:
                return inf
            parts.append(target)
        path = (*path, id(schema))
        height = 0.0
        for part in parts:
            height = max(height, 1 + self.height(part, path))
            if height == inf:
                return inf
        self._heights[id(schema)] = height
        return height


class _StatedTypes:
    """Whether the schemas of a document that is not recursive state types; each is looked at once."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._found: dict[int, bool] = {}

    def are_in(self, schema: Any) -> bool:
        """Return whether a schema states the type of every value that it can reach."""
        if not isinstance(schema, dict):
            return schema is False
        key = id(schema)
        if key not in self._found:
            self._found[key] = self._find(schema)
        return self._found[key]

    def _find(self, schema: dict[str, Any]) -> bool:
        if "const" in schema or "enum" in schema:
            return True
        if "$ref" in schema and self.are_in(resolve(self._root, schema["$ref"])):
            return True
        if any(self.are_in(part) for part in schema.get("allOf", ())):
            return True
        for key in ("anyOf", "oneOf"):
            if key in schema and all(self.are_in(part) for part in schema[key]):
                return True
        return "type" in schema and self._are_in_parts(schema)

    def _are_in_parts(self, schema: dict[str, Any]) -> bool:
        stated = schema["type"]
        for kind in [stated] if isinstance(stated, str) else stated:
            if kind == "array":
                parts = [*schema.get("prefixItems", ()), schema.get("items", True)]
            elif kind == "object":
                parts = [*schema.get("properties", {}).values(), *schema.get("patternProperties", {}).values()]
                parts.append(schema.get("additionalProperties", True))
            else:
                continue
            if not all(self.are_in(part) for part in parts):
                return False
        return True
