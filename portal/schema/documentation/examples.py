"""An example value for a JSON Schema, for documents of functions that have no example of their own."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ..formats import EXAMPLES
from ..jsondata import MAX_DEPTH
from ..schema import Schema
from ..subschemas import resolve

__all__ = ["example_of", "examples_by_type", "text_of_pattern"]

_TEXT = "example text"
_MAX_LENGTH = 1_000
_MAX_ITEMS = 10


class _Root(NamedTuple):
    """The schema that references lead into, and those that led to a part."""

    schema: Any
    followed: frozenset[str]


def example_of(schema: Any) -> Any:
    """Return a value that probably fits a schema; a caller validates it.

    Examples, defaults and constants of the schema come first. Formats, types, limits and simple patterns make the rest.
    """
    return _example(schema, _Root(schema, frozenset()), MAX_DEPTH)


def examples_by_type(schema: Schema) -> dict[str, Any]:
    """Return Example Objects of OpenAPI with an example that fits a schema; {} if none is found."""
    found = example_of(schema.json)
    return {"by_type": {"value": found}} if found not in (None, {}, []) and schema.accepts(found) else {}


def _example(schema: Any, root: _Root, depth: int) -> Any:
    if not isinstance(schema, dict) or depth <= 0:
        return None
    if "$ref" in schema:
        reference = str(schema["$ref"])
        if reference in root.followed:  # a recursive type
            return None
        return _example(resolve(root.schema, reference), _Root(root.schema, root.followed | {reference}), depth - 1)
    for keyword in ("examples", "enum"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return schema[keyword][0]
    for keyword in ("default", "const"):
        if schema.get(keyword) is not None:
            return schema[keyword]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            parts = [part for part in schema[keyword] if part != {"type": "null"}]
            return _example(parts[0], root, depth - 1) if parts else None
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object" or "properties" in schema:
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, depth)
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return _number(schema, kind)
    return True if kind == "boolean" else None


def _object(schema: dict[str, Any], root: _Root, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    found = {}
    for name, part in (properties if isinstance(properties, dict) else {}).items():
        value = _example(part, root, depth - 1)
        if value is not None or name in names:
            found[name] = value
    return found


def _array(schema: dict[str, Any], root: _Root, depth: int) -> list[Any]:
    if isinstance(schema.get("prefixItems"), list):
        return [_example(part, root, depth - 1) for part in schema["prefixItems"]]
    least = schema.get("minItems", 0)
    most = schema.get("maxItems", 1)
    item = _example(schema.get("items", {}), root, depth - 1)
    if item is None and not least:
        return []
    return [item] * min(max(least, min(1, most)), _MAX_ITEMS)


def _text(schema: dict[str, Any]) -> str:
    if schema.get("contentEncoding") == "base64":
        return "ZXhhbXBsZQ=="
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        return text_of_pattern(pattern)
    found = EXAMPLES.get(str(schema.get("format")), _TEXT)
    if found != _TEXT:
        return found
    least, most = schema.get("minLength", 0), schema.get("maxLength", _MAX_LENGTH)
    found = found * (min(least, _MAX_LENGTH) // len(found) + 1) if least > len(found) else found
    return found[: max(0, min(most, max(least, len(_TEXT))))]


def _number(schema: dict[str, Any], kind: str) -> float:
    step = schema.get("multipleOf", 1 if kind == "integer" else 0.5)
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    found: float = step if kind == "integer" else 1.5
    if "multipleOf" in schema:
        found = step
    if least is not None and found <= least:
        found = least if "minimum" in schema and "multipleOf" not in schema else (least // step + 1) * step
    if most is not None and found >= most:
        found = most if "maximum" in schema and "multipleOf" not in schema else (most // step - 1) * step
    return int(found) if kind == "integer" else float(found)


def text_of_pattern(pattern: str) -> str:
    """Return a short text that a simple pattern matches; for another one some text, which does not fit."""
    found, number = "", 0
    while number < len(pattern):
        piece = _PIECE.match(pattern, number)
        if piece is None:
            return _TEXT  # a group, an alternative or another form
        number = piece.end()
        if piece["anchor"]:
            continue
        least = piece["least"] or {"*": "0", "?": "0"}.get(piece["sign"] or "", "1")
        found += _character(piece["one"]) * min(int(least), _MAX_LENGTH)
    return found


_PIECE = re.compile(
    r"(?P<anchor>[\^$])|(?P<one>\[[^\]\\]+\]|\\[dwsDWS.\-/+]|[^\\\[\](){}|*+?^$])"
    r"(?:(?P<sign>[*+?])|\{(?P<least>\d+)(?:,\d*)?\})?"
)
_CLASSES = {"\\d": "1", "\\w": "a", "\\s": " ", "\\D": "a", "\\W": "-", "\\S": "a", ".": "a"}


def _character(one: str) -> str:
    """Return a character that a part of a pattern matches."""
    if not one.startswith("["):
        return _CLASSES.get(one, one[-1])
    if one.startswith("[^"):
        return next(letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789 -" if re.fullmatch(one, letter))
    first = one[1]
    return {"0": "1", "a": "a", "A": "A"}.get(first, first)
