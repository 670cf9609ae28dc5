"""MarshmallowSchema: a schema that marshmallow validates, loads and dumps, with its own coercions.

Its `json` describes the canonical form of the data. marshmallow may accept more, such as "3" for an Integer that is not
strict. The member `x-coerces` tells clients so, and they leave the validation to the server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import Fault, ValidationError
from ..errors.failure import is_failure
from ..errors.fault import limit_faults
from .decode_errors import encode_error, hook_error
from .jsondata import is_json, pointer, shorten
from .schema import Schema, factories

if TYPE_CHECKING:
    import marshmallow

__all__ = ["MarshmallowSchema", "is_marshmallow"]


def is_marshmallow(source: Any) -> bool:
    """Return whether `source` is a marshmallow Schema class or instance, or a dict of marshmallow fields.

    It does not import marshmallow: without the import there are no such objects.
    """
    module = sys.modules.get("marshmallow")
    if module is None:
        return False
    if isinstance(source, type):
        return issubclass(source, module.Schema)
    if isinstance(source, dict):
        return bool(source) and all(isinstance(field, module.fields.Field) for field in source.values())
    return isinstance(source, module.Schema)


class MarshmallowSchema(Schema):
    """A schema made from a marshmallow Schema class, instance or dict of fields.

    Threads: any; load and dump of marshmallow keep no state between calls.
    """

    __slots__ = ("_schema",)

    def __init__(self, source: Any) -> None:
        import marshmallow as m

        if isinstance(source, dict):
            schema: marshmallow.Schema = m.Schema.from_dict(source)()
        else:
            schema = source() if isinstance(source, type) else source
        super().__init__(_json_schema(schema) | {"x-coerces": True}, kind="marshmallow", source=source)
        self._schema = schema
        self.accepts = lambda value: not self.faults(value)
        self.decode = schema.load
        self.encode = schema.dump

    def faults(self, value: Any) -> list[Fault]:
        """Return every fault that marshmallow finds; the list is empty exactly if `accepts` is true.

        Raises: FunctionError if a hook or a validator raised anything but ValueError and TypeError.
        """
        if not is_json(value):
            message = f"must be JSON data, got {type(value).__name__}"
            return super().faults(value) or [Fault("", message, "json", None, shorten(value))]
        try:
            self._load(value)
        except ValidationError as error:
            return list(error.errors)
        return []

    def load(self, value: Any) -> Any:
        """Return what marshmallow's `load` makes of JSON data.

        Raises: ValidationError with every fault; FunctionError if a hook or a validator raised anything but ValueError
            and TypeError.
        """
        if not is_json(value):
            raise ValidationError(errors=self.faults(value))
        return self._load(value)

    def _load(self, value: Any) -> Any:
        import marshmallow as m

        try:
            return self._schema.load(value)
        except m.ValidationError as error:
            raise ValidationError(errors=limit_faults(_faults(error.messages, "", value))) from None
        except BaseException as error:  # hooks and validators are user code
            if not is_failure(error):
                raise
            raise hook_error(value, error) from error

    def dump(self, native: Any) -> Any:
        """Return what marshmallow's `dump` makes of a native value, validated as `load` would validate it.

        Raises: ValidationError with every fault.
        """
        try:
            encoded = self._schema.dump(native)
        except BaseException as error:  # fields of marshmallow call methods of the value, which may raise anything
            if not is_failure(error):
                raise
            raise encode_error(native, error) from error
        faults = self.faults(encoded)
        if faults:
            raise ValidationError(errors=faults)
        return encoded


def _faults(messages: Any, path: str, value: Any) -> Iterator[Fault]:
    """Yield the faults in the nested messages of marshmallow, which have a list of sentences at each leaf."""
    if isinstance(messages, dict):
        for key, inner in messages.items():
            if key == "_schema":
                yield from _faults(inner, path, value)
                continue
            yield from _faults(inner, path + pointer((key,)), _part(value, key))
        return
    for message in messages if isinstance(messages, list) else [messages]:
        yield Fault(path, str(message), "marshmallow", None, shorten(value) if value is not None else "")


def _part(value: Any, key: Any) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return None


def _json_schema(schema: marshmallow.Schema) -> dict[str, Any]:
    if schema.many:
        return {"type": "array", "items": _object_schema(schema)}
    return _object_schema(schema)


def _object_schema(schema: marshmallow.Schema) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, field in schema.load_fields.items():
        key = field.data_key or name
        properties[key] = _field_schema(field)
        if field.required:
            required.append(key)
    json: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        json["required"] = required
    if schema.unknown == "raise":
        json["additionalProperties"] = False
    return json


def _field_schema(field: Any) -> dict[str, Any]:
    json = _type_schema(field) | {}
    for validator in field.validators:
        json |= _validator_keywords(validator, json)
    description = field.metadata.get("description")
    if description:
        json["description"] = str(description)
    if field.load_default is not None and is_json(field.load_default):
        json["default"] = field.load_default
    if field.allow_none and json:
        json = {"anyOf": [json, {"type": "null"}]}
    return json


def _type_schema(field: Any) -> dict[str, Any]:
    """Return the JSON Schema of the type of a field; the most specific class comes first."""
    from marshmallow import fields as f

    container = _container_schema(field)
    if container is not None:
        return container
    table: list[tuple[type, dict[str, Any]]] = [
        (f.UUID, {"type": "string", "format": "uuid"}),
        (f.Url, {"type": "string", "format": "uri"}),
        (f.Email, {"type": "string", "format": "email"}),
        (f.IPv4, {"type": "string", "format": "ipv4"}),
        (f.IPv6, {"type": "string", "format": "ipv6"}),
        (f.IP, {"type": "string"}),
        (f.String, {"type": "string"}),
        (f.Integer, {"type": "integer"}),
        (f.Float, {"type": "number"}),
        (f.Boolean, {"type": "boolean"}),
        (f.Date, {"type": "string", "format": "date"}),
        (f.Time, {"type": "string", "format": "time"}),
        (f.DateTime, {"type": "string", "format": "date-time"} if _datetime_format(field) == "iso" else {}),
        (f.TimeDelta, {"type": "integer"}),
    ]
    if isinstance(field, f.Decimal):
        return {"type": "string", "format": "decimal"} if field.as_string else {"type": "number"}
    return next((dict(json) for kind, json in table if isinstance(field, kind)), {})


def _datetime_format(field: Any) -> str:
    """Return the format of a DateTime field; the default of marshmallow is ISO 8601."""
    return getattr(field, "format", None) or "iso"


def _container_schema(field: Any) -> dict[str, Any] | None:
    """Return the JSON Schema of a field with choices or with other fields in it, or None for another field."""
    from marshmallow import fields as f

    if isinstance(field, f.Constant):
        return {"const": field.constant}
    if isinstance(field, f.Enum):
        members = [member.value if field.by_value else member.name for member in field.enum]
        return {"enum": members} if is_json(members) else {}
    if isinstance(field, f.Pluck):
        inner = _field_schema(field.schema.fields[field.field_name])
        return {"type": "array", "items": inner} if field.many else inner
    if isinstance(field, f.Nested):
        inner = _object_schema(field.schema)
        return {"type": "array", "items": inner} if field.many else inner
    if isinstance(field, f.Tuple):
        parts = [_field_schema(part) for part in field.tuple_fields]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)}
    if isinstance(field, f.List):
        return {"type": "array", "items": _field_schema(field.inner)}
    if isinstance(field, f.Mapping):
        values = {} if field.value_field is None else {"additionalProperties": _field_schema(field.value_field)}
        return {"type": "object"} | values
    return None


def _validator_keywords(validator: Any, json: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema keywords with the meaning of a validator; none for a validator that the user wrote."""
    from marshmallow import validate as v

    if isinstance(validator, v.Range):
        bounds = {
            ("minimum" if validator.min_inclusive else "exclusiveMinimum"): validator.min,
            ("maximum" if validator.max_inclusive else "exclusiveMaximum"): validator.max,
        }
        return {key: bound for key, bound in bounds.items() if isinstance(bound, int | float)}
    if isinstance(validator, v.Length):
        suffix = {"array": "Items", "object": "Properties"}.get(json.get("type", ""), "Length")
        equal = validator.equal
        minimum, maximum = (validator.min, validator.max) if equal is None else (equal, equal)
        return {f"{word}{suffix}": size for word, size in (("min", minimum), ("max", maximum)) if size is not None}
    if isinstance(validator, v.OneOf) and is_json(list(validator.choices)):
        return {"enum": list(validator.choices)}
    if isinstance(validator, v.NoneOf) and is_json(list(validator.iterable)):
        return {"not": {"enum": list(validator.iterable)}}
    if isinstance(validator, v.Equal) and is_json(validator.comparable):
        return {"const": validator.comparable}
    return {}


def _from_source(source: Any) -> MarshmallowSchema | None:
    return MarshmallowSchema(source) if is_marshmallow(source) else None


factories.append(_from_source)
