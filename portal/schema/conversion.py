"""Conversions out of JSON Schema: to type hints and to marshmallow schemas.

A hint, or a field, never refuses what the JSON Schema accepts: where a keyword has no counterpart (`not`, `if`,
`patternProperties`, recursion, an object that allows unknown members) the part becomes Any. The schema itself stays
what calls are checked against; the hint says how values look in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required, TypedDict
from uuid import UUID

from ..errors import ConfigError
from .constraints import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf, Pattern, Unique

if TYPE_CHECKING:
    import marshmallow

__all__ = ["hint_from_json", "marshmallow_from_json"]

_FORMATS: dict[str, Any] = {
    "date-time": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "decimal": Decimal,
}
_SCALARS: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_CONSTRAINTS: dict[str, Callable[[Any], Any]] = {
    "exclusiveMinimum": Gt,
    "minimum": Ge,
    "exclusiveMaximum": Lt,
    "maximum": Le,
    "multipleOf": MultipleOf,
    "minLength": MinLen,
    "maxLength": MaxLen,
    "minItems": MinLen,
    "maxItems": MaxLen,
    "pattern": Pattern,
    "uniqueItems": lambda _: Unique(),
}
_RELEVANT = {
    "number": ("exclusiveMinimum", "minimum", "exclusiveMaximum", "maximum", "multipleOf"),
    "string": ("minLength", "maxLength", "pattern"),
    "array": ("minItems", "maxItems", "uniqueItems"),
}
#: Keywords that a hint cannot say.
_BEYOND = frozenset(
    {"not", "if", "allOf", "patternProperties", "propertyNames", "dependentSchemas", "dependentRequired", "contains",
     "unevaluatedProperties", "unevaluatedItems", "minProperties", "maxProperties", "$dynamicRef", "$anchor", "$id"}
)  # fmt: skip
_MAX_DEPTH = 32


def hint_from_json(schema: dict[str, Any] | bool) -> Any:
    """The nearest type hint of a JSON Schema.

    Objects without unknown members become TypedDicts, formats native types, `enum` a Literal, `anyOf` a Union. A part
    that has no hint, and a part that refers to itself, is Any. A schema that no value fits is Any as well.
    """
    return _Hints(schema).of(schema, "Value", ())


class _Hints:
    """One conversion: knows the definitions that references lead to."""

    def __init__(self, root: dict[str, Any] | bool) -> None:
        self._root = root

    def of(self, schema: Any, name: str, seen: tuple[str, ...]) -> Any:
        if not isinstance(schema, dict) or _BEYOND & schema.keys() or len(seen) > _MAX_DEPTH:
            return Any
        if "$ref" in schema:
            return self._referred(schema["$ref"], name, seen)
        if "const" in schema:
            return _literal([schema["const"]])
        if "enum" in schema:
            return _literal(schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._union(schema[keyword], name, seen)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._union([schema | {"type": one} for one in kind], name, seen)
        return _constrained(self._typed(kind, schema, name, seen), kind, schema)

    def _referred(self, reference: str, name: str, seen: tuple[str, ...]) -> Any:
        key = reference.removeprefix("#/$defs/")
        definitions = self._root.get("$defs", {}) if isinstance(self._root, dict) else {}
        if reference in seen or key not in definitions:
            return Any
        return self.of(definitions[key], key or name, (*seen, reference))

    def _union(self, parts: list[Any], name: str, seen: tuple[str, ...]) -> Any:
        hints = [self.of(part, f"{name}{number}", seen) for number, part in enumerate(parts)]
        # Two formats of text in one union could be told apart by trial only: such a part stays plain.
        if Any in hints or not hints:
            return Any
        return reduce(or_, [type(None) if hint is None else hint for hint in hints])

    def _typed(self, kind: Any, schema: dict[str, Any], name: str, seen: tuple[str, ...]) -> Any:
        if kind == "string":
            if schema.get("contentEncoding") == "base64":
                return bytes
            return _FORMATS.get(schema.get("format", ""), str)
        if kind == "array":
            return self._array(schema, name, seen)
        if kind == "object":
            return self._object(schema, name, seen)
        return _SCALARS.get(kind, Any)

    def _array(self, schema: dict[str, Any], name: str, seen: tuple[str, ...]) -> Any:
        items = schema.get("items", {})
        if "prefixItems" not in schema:
            return list[self.of(items, f"{name}Item", seen)]  # type: ignore[misc]
        parts = schema["prefixItems"]
        if items is not False or schema.get("minItems") != len(parts):
            return Any
        hints = tuple(self.of(part, f"{name}{number}", seen) for number, part in enumerate(parts))
        return tuple.__class_getitem__(hints)

    def _object(self, schema: dict[str, Any], name: str, seen: tuple[str, ...]) -> Any:
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        required = schema.get("required", [])
        if not properties and isinstance(rest, dict) and not required:
            return dict[str, self.of(rest, f"{name}Value", seen)]  # type: ignore[misc]
        if rest is not False or set(required) - properties.keys():
            return Any
        fields: dict[str, Any] = {}
        for key, part in properties.items():
            hint = self.of(part, f"{name}_{key}", seen)
            fields[key] = Required[hint] if key in required else NotRequired[hint]
        return TypedDict(str(schema.get("title", name)), fields)  # type: ignore[operator]


def _literal(values: list[Any]) -> Any:
    if all(value is None or isinstance(value, bool | int | str) for value in values) and values:
        return Literal[tuple(values)]
    return Any


def _constrained(hint: Any, kind: Any, schema: dict[str, Any]) -> Any:
    if hint is Any or hint is bytes or hint in _FORMATS.values() or "prefixItems" in schema:
        return hint
    relevant = _RELEVANT.get("number" if kind == "integer" else str(kind), ())
    said = [keyword for keyword in relevant if keyword in schema and schema[keyword] is not False]
    notes = [_CONSTRAINTS[keyword](schema[keyword]) for keyword in said]
    return Annotated[(hint, *notes)] if notes else hint


def marshmallow_from_json(schema: dict[str, Any]) -> type[marshmallow.Schema]:
    """A marshmallow Schema class of a JSON Schema object.

    What marshmallow has no field for becomes a Raw field. ConfigError for a schema that is no object.
    """
    from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema

    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict):
        raise ConfigError("a marshmallow schema is an object", path="/type", expected="an object with properties")
    required = set(schema.get("required", ()))
    unknown = RAISE if schema.get("additionalProperties") is False else INCLUDE
    fields = {
        f"field_{number}": _field(part, name, name in required)
        for number, (name, part) in enumerate(properties.items())
    }
    meta = type("Meta", (), {"unknown": unknown, "ordered": True})
    assert unknown != EXCLUDE
    title = "".join(letter for letter in str(schema.get("title", "Converted")) if letter.isalnum()) or "Converted"
    made: type[Schema] = type(title, (Schema,), {**fields, "Meta": meta})
    return made


def _field(schema: Any, name: str, required: bool) -> Any:
    from marshmallow import fields, missing

    part = schema if isinstance(schema, dict) else {}
    common: dict[str, Any] = {"data_key": name, "attribute": name, "required": required}
    nullable, part = _nullable(part)
    common["allow_none"] = nullable or part.get("type") in (None, "null")
    if not required:
        common["load_default"] = part.get("default", missing)
    common["validate"] = _validators(part)
    if part.get("description"):
        common["metadata"] = {"description": part["description"]}
    kind = part.get("type")
    if kind == "object" and part.get("properties"):
        return fields.Nested(marshmallow_from_json(part), **common)
    if kind == "array" and "prefixItems" not in part:
        return fields.List(_field(part.get("items", {}), "item", False), **common)
    made = _scalar_field(part, kind, common)
    return made if made is not None else fields.Raw(**common)


def _nullable(part: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    choices = part.get("anyOf")
    if isinstance(choices, list) and len(choices) == 2 and {"type": "null"} in choices:
        other: dict[str, Any] = next((choice for choice in choices if choice != {"type": "null"}), {})
        return True, {**{key: value for key, value in part.items() if key != "anyOf"}, **other}
    kinds = part.get("type")
    if isinstance(kinds, list) and "null" in kinds and len(kinds) == 2:
        return True, part | {"type": next(kind for kind in kinds if kind != "null")}
    return False, part


def _scalar_field(part: dict[str, Any], kind: Any, common: dict[str, Any]) -> Any:
    from marshmallow import fields

    if part.keys() & _BEYOND or "enum" in part or "const" in part or "$ref" in part:
        return None
    if kind == "string":
        by_format: dict[str, Callable[..., Any]] = {
            "date-time": fields.AwareDateTime,
            "date": fields.Date,
            "time": fields.Time,
            "uuid": fields.UUID,
            "decimal": lambda **rest: fields.Decimal(as_string=True, **rest),
        }
        return by_format.get(part.get("format", ""), fields.String)(**common)
    if kind == "integer":
        return fields.Integer(strict=True, **common)
    simple: dict[Any, Callable[..., Any]] = {"number": fields.Float, "boolean": fields.Boolean}
    return simple[kind](**common) if kind in simple else None


def _validators(part: dict[str, Any]) -> list[Any]:
    from marshmallow import validate

    found: list[Any] = []
    if "enum" in part:
        found.append(validate.OneOf(part["enum"]))
    if "const" in part:
        found.append(validate.Equal(part["const"]))
    if part.get("type") in ("integer", "number"):
        low, high = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum", part.get("exclusiveMaximum"))
        if low is not None or high is not None:
            found.append(
                validate.Range(min=low, max=high, min_inclusive="minimum" in part, max_inclusive="maximum" in part)
            )
    sizes = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}.get(part.get("type", ""))
    if sizes and (part.get(sizes[0]) is not None or part.get(sizes[1]) is not None):
        found.append(validate.Length(min=part.get(sizes[0]), max=part.get(sizes[1])))
    return found
