"""Convert a JSON Schema to a type hint or to a marshmallow schema.

The result never rejects what the JSON Schema accepts. A part with a keyword that has no counterpart becomes Any or a
Raw field: `not`, `if`, `patternProperties`, recursion, an object that allows unknown members. Calls are still
validated against the JSON Schema; the hint says which Python values it stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required, TypedDict
from uuid import UUID

from ..errors import ConfigError
from .codecs.files import Bytes, File
from .codecs.mappings import INTEGER_NAME
from .constraints import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf, Pattern, Unique
from .jsondata import shorten

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
    "fraction": Fraction,
    "path": Path,
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
    "ipv4network": IPv4Network,
    "ipv6network": IPv6Network,
    "ipv4interface": IPv4Interface,
    "ipv6interface": IPv6Interface,
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
_CONSTRAINTS_BY_TYPE = {
    "number": ("exclusiveMinimum", "minimum", "exclusiveMaximum", "maximum", "multipleOf"),
    "string": ("minLength", "maxLength", "pattern"),
    "array": ("minItems", "maxItems", "uniqueItems"),
}
#: Keywords that neither a hint nor a field can express.
_UNSUPPORTED = frozenset(
    {"not", "if", "allOf", "patternProperties", "propertyNames", "dependentSchemas", "dependentRequired", "contains",
     "unevaluatedProperties", "unevaluatedItems", "minProperties", "maxProperties", "$dynamicRef", "$anchor", "$id"}
)  # fmt: skip
#: The members of a schema of a mapping with other keys than strings.
_KEYED = {"type", "additionalProperties", "propertyNames"}
_MAX_REFERENCES = 32
#: Parts of one hint. A hint has no references: definitions that refer twice to the next one would double it each time.
_MAX_PARTS = 2_000
_MAX_ALTERNATIVES = 256


def hint_from_json(schema: dict[str, Any] | bool) -> Any:
    """Return the nearest type hint of a JSON Schema.

    An object without unknown members becomes a TypedDict, a format its native type, `enum` a Literal, and `anyOf` a
    Union. A part without a hint becomes Any; so does a part that refers to itself, and a schema that accepts nothing.
    A schema of more than `_MAX_PARTS` parts, with its references followed, becomes Any as a whole.
    """
    try:
        return _HintBuilder(schema).build(schema, "Value", ())
    except _TooManyParts:
        return Any


class _TooManyParts(Exception):
    pass


class _HintBuilder:
    """One conversion of a schema; it resolves references to the definitions of the root."""

    def __init__(self, root: dict[str, Any] | bool) -> None:
        self._root = root
        self._parts_left = _MAX_PARTS

    def build(self, schema: Any, name: str, followed: tuple[str, ...]) -> Any:
        """Return the hint of a part.

        Args:
            schema: the part.
            name: the name of a TypedDict without a title.
            followed: the references that led to the part.
        """
        self._parts_left -= 1
        if self._parts_left < 0:
            raise _TooManyParts
        if not isinstance(schema, dict) or len(followed) > _MAX_REFERENCES:
            return Any
        if _UNSUPPORTED & schema.keys():
            return self._mapping(schema, name, followed) if schema.keys() == _KEYED else Any
        if "$ref" in schema:
            return self._reference(schema["$ref"], name, followed)
        if "const" in schema:
            return _literal([schema["const"]])
        if "enum" in schema:
            return _literal(schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._union(schema[keyword], name, followed)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._union([schema | {"type": one} for one in kind], name, followed)
        return _constrained(self._of_type(kind, schema, name, followed), kind, schema)

    def _reference(self, reference: str, name: str, followed: tuple[str, ...]) -> Any:
        key = reference.removeprefix("#/$defs/")
        definitions = self._root.get("$defs", {}) if isinstance(self._root, dict) else {}
        if reference in followed or key not in definitions:
            return Any
        return self.build(definitions[key], key or name, (*followed, reference))

    def _union(self, parts: list[Any], name: str, followed: tuple[str, ...]) -> Any:
        if len(parts) > _MAX_ALTERNATIVES:
            return Any
        hints = [self.build(part, f"{name}{number}", followed) for number, part in enumerate(parts)]
        if Any in hints or not hints:
            return Any
        return reduce(or_, [type(None) if hint is None else hint for hint in hints])

    def _of_type(self, kind: Any, schema: dict[str, Any], name: str, followed: tuple[str, ...]) -> Any:
        if schema.get("x-file") in _FILES:
            return _FILES[schema["x-file"]]
        if kind == "string":
            if schema.get("contentEncoding") == "base64":
                return bytes
            return _FORMATS.get(schema.get("format", ""), str)
        if kind == "array":
            return self._array(schema, name, followed)
        if kind == "object":
            return self._object(schema, name, followed)
        return _SCALARS.get(kind, Any)

    def _array(self, schema: dict[str, Any], name: str, followed: tuple[str, ...]) -> Any:
        items = schema.get("items", {})
        if "prefixItems" not in schema:
            return list[self.build(items, f"{name}Item", followed)]  # type: ignore[misc]
        parts = schema["prefixItems"]
        if items is not False or schema.get("minItems") != len(parts):
            return Any
        hints = tuple(self.build(part, f"{name}{number}", followed) for number, part in enumerate(parts))
        return tuple.__class_getitem__(hints)

    def _mapping(self, schema: dict[str, Any], name: str, followed: tuple[str, ...]) -> Any:
        """Return the hint of an object whose names are integers, or have a format: dict[int, ...], dict[date, ...]."""
        names = schema["propertyNames"]
        if schema["type"] != "object" or not isinstance(names, dict):
            return Any
        if names == {"type": "string", "pattern": INTEGER_NAME}:
            key: Any = int
        elif names.keys() == {"type", "format"} and names["type"] == "string":
            key = self.build(names, name, followed)
        else:
            return Any
        return dict[key, self.build(schema["additionalProperties"], f"{name}Value", followed)]  # type: ignore[misc]

    def _object(self, schema: dict[str, Any], name: str, followed: tuple[str, ...]) -> Any:
        properties, additional = schema.get("properties", {}), schema.get("additionalProperties", True)
        required = frozenset(schema.get("required", ()))
        if not properties and isinstance(additional, dict) and not required:
            return dict[str, self.build(additional, f"{name}Value", followed)]  # type: ignore[misc]
        if additional is not False or required - properties.keys():
            return Any
        fields: dict[str, Any] = {}
        for key, part in properties.items():
            hint = self.build(part, f"{name}_{key}", followed)
            fields[key] = Required[hint] if key in required else NotRequired[hint]
        return TypedDict(str(schema.get("title", name)), fields)  # type: ignore[operator]


_FILES: dict[str, Any] = {"file": File, "bytes": Bytes}


def _literal(values: list[Any]) -> Any:
    if all(value is None or isinstance(value, bool | int | str) for value in values) and values:
        return Literal[tuple(values)]
    return Any


def _constrained(hint: Any, kind: Any, schema: dict[str, Any]) -> Any:
    """Return a hint annotated with the constraints of its schema."""
    if hint is Any or hint is bytes or hint in _FORMATS.values() or "prefixItems" in schema:
        return hint
    keywords = _CONSTRAINTS_BY_TYPE.get("number" if kind == "integer" else str(kind), ())
    constraints = [
        _CONSTRAINTS[keyword](schema[keyword])
        for keyword in keywords
        if keyword in schema and schema[keyword] is not False
    ]
    return Annotated[(hint, *constraints)] if constraints else hint


def marshmallow_from_json(schema: dict[str, Any]) -> type[marshmallow.Schema]:
    """Return a marshmallow Schema class for a JSON Schema of an object.

    A part that has no field in marshmallow becomes a Raw field.

    Raises:
        ConfigError: the schema is not an object with properties.
    """
    from marshmallow import INCLUDE, RAISE, Schema

    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict):
        raise ConfigError(
            f"a marshmallow schema must be made from an object with properties, got {shorten(schema)}", path="/type"
        )
    required = set(schema.get("required", ()))
    unknown = RAISE if schema.get("additionalProperties") is False else INCLUDE
    fields = {
        f"field_{number}": _field(part, name, required=name in required)
        for number, (name, part) in enumerate(properties.items())
    }
    meta = type("Meta", (), {"unknown": unknown, "ordered": True})
    title = "".join(letter for letter in str(schema.get("title", "Converted")) if letter.isalnum()) or "Converted"
    made: type[Schema] = type(title, (Schema,), {**fields, "Meta": meta})
    return made


def _field(schema: Any, name: str, *, required: bool) -> Any:
    from marshmallow import fields, missing

    part = schema if isinstance(schema, dict) else {}
    options: dict[str, Any] = {"data_key": name, "attribute": name, "required": required}
    nullable, part = _split_null(part)
    options["allow_none"] = nullable or part.get("type") in (None, "null")
    if not required:
        options["load_default"] = part.get("default", missing)
    options["validate"] = _validators(part)
    if part.get("description"):
        options["metadata"] = {"description": part["description"]}
    kind = part.get("type")
    if kind == "object" and part.get("properties"):
        return fields.Nested(marshmallow_from_json(part), **options)
    if kind == "array" and "prefixItems" not in part:
        return fields.List(_field(part.get("items", {}), "item", required=False), **options)
    made = _scalar_field(part, kind, options)
    return made if made is not None else fields.Raw(**options)


def _split_null(part: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Return (True, the other schema) for a schema of "X or null", else (False, the schema)."""
    choices = part.get("anyOf")
    if isinstance(choices, list) and len(choices) == 2 and {"type": "null"} in choices:
        other: dict[str, Any] = next((choice for choice in choices if choice != {"type": "null"}), {})
        return True, {**{key: value for key, value in part.items() if key != "anyOf"}, **other}
    kinds = part.get("type")
    if isinstance(kinds, list) and "null" in kinds and len(kinds) == 2:
        return True, part | {"type": next(kind for kind in kinds if kind != "null")}
    return False, part


def _scalar_field(part: dict[str, Any], kind: Any, options: dict[str, Any]) -> Any:
    from marshmallow import fields

    if part.keys() & _UNSUPPORTED or "enum" in part or "const" in part or "$ref" in part:
        return None
    if kind == "string":
        by_format: dict[str, Callable[..., Any]] = {
            "date-time": fields.AwareDateTime,
            "date": fields.Date,
            "time": fields.Time,
            "uuid": fields.UUID,
            "decimal": lambda **options: fields.Decimal(as_string=True, **options),
        }
        return by_format.get(part.get("format", ""), fields.String)(**options)
    if kind == "integer":
        return fields.Integer(strict=True, **options)
    by_type: dict[Any, Callable[..., Any]] = {"number": fields.Float, "boolean": fields.Boolean}
    return by_type[kind](**options) if kind in by_type else None


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
    lengths = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}.get(part.get("type", ""))
    if lengths and (part.get(lengths[0]) is not None or part.get(lengths[1]) is not None):
        found.append(validate.Length(min=part.get(lengths[0]), max=part.get(lengths[1])))
    return found
