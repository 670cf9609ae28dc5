"""Codecs of classes with named fields: dataclasses, TypedDicts and named tuples.

What `__post_init__` raises passes through a decoder; `schema/decode_errors.py` makes the error of the call from it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..jsondata import MAX_DEPTH, copy_json
from ..validator import Validator, is_json
from .codec import Codec, Converter, Violation, generate
from .record_shapes import ABSENT, FieldShape, MembersShape, RecordShape, has_plain_constructor, is_plain_name
from .shapes import Shape

__all__ = ["MISSING", "Field", "object_schema", "record_codec", "shapes_of", "typed_dict_codec"]

MISSING: Any = object()


@dataclass(slots=True)
class Field:
    """One named field.

    Attributes:
        name: the name.
        codec: the codec of its value.
        required: whether it must be present.
        default: its native default, or MISSING.
        keyword: whether it is passed by keyword only.
        computed: whether the class computes it: it is sent, and takes no argument.
    """

    name: str
    codec: Codec
    required: bool
    default: Any = MISSING
    keyword: bool = True
    computed: bool = False


def object_schema(fields: list[Field]) -> dict[str, Any]:
    """Return the JSON Schema of an object with exactly these fields, and with the defaults that are JSON data."""
    properties = {}
    for field in fields:
        json = field.codec.json
        if field.default is not MISSING:
            default = _json_default(field)
            json = json if default is MISSING else {**json, "default": default}
        if field.computed:
            json = {**json, "readOnly": True}
        properties[field.name] = json
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    required = [field.name for field in fields if field.required]
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema


def _json_default(field: Field) -> Any:
    """Return the default of a field as JSON data.

    Returns: MISSING if the default does not fit the schema of the field, or if a factory or `__post_init__` has made a
        part of it.
    """
    if _has_factory(field.default):
        return MISSING
    try:
        found = field.default if field.codec.encode is None else field.codec.encode(field.default)
    except Exception:  # a default may be any object; one that JSON cannot carry is left out of the schema
        return MISSING
    if not is_json(found):
        return MISSING
    # the $ref of a recursive type has no target yet; None is the most frequent default, and is not validated
    if "#/$defs/" in str(field.codec.json):
        return found if found is None else MISSING
    return found if Validator(field.codec.json).accepts(found) else MISSING


def _has_factory(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Return whether a value contains an instance of a dataclass with parts that code has made: they may be random."""
    if depth <= 0:
        return True
    if isinstance(value, list | tuple | set | frozenset):
        return any(_has_factory(item, depth - 1) for item in value)
    if isinstance(value, Mapping):
        return any(_has_factory(item, depth - 1) for item in value.values())
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return False
    fields = dataclasses.fields(value)
    return any(
        field.default_factory is not dataclasses.MISSING
        or not field.init
        or _has_factory(getattr(value, field.name, None), depth - 1)
        for field in fields
    )


def _field_children(fields: list[Field]) -> Callable[[Any], Iterator[tuple[str, Codec, Any]]]:
    def children(value: Any) -> Iterator[tuple[str, Codec, Any]]:
        for field in fields:
            if field.name in value:
                yield field.name, field.codec, value[field.name]

    return children


def record_codec(kind: type, fields: list[Field]) -> Codec:
    """Return the codec of a class that takes its fields by keyword and has them as attributes.

    Dataclasses and named tuples are such classes. A computed field is read-only: it is sent if the value has it, and
    accepted if it is what the class computes.
    """
    decode, encode = _record_decoder(kind, fields), _record_encoder(kind, fields)
    hashable = _is_hashable(kind, fields)
    usual = not any(field.computed for field in fields) and all(is_plain_name(field.name) for field in fields)
    structure = (lambda of: RecordShape(kind, shapes_of(fields, of), has_plain_constructor(kind))) if usual else None
    return Codec(
        object_schema(fields),
        decode,
        encode,
        (kind,),
        _field_children(fields),
        hashable=hashable,
        structure=structure,
    )


def shapes_of(fields: list[Field], shape_of: Callable[[Codec], Shape]) -> tuple[FieldShape, ...]:
    """Return the shapes of fields."""
    return tuple(
        FieldShape(
            field.name,
            shape_of(field.codec),
            field.required,
            ABSENT if field.default is MISSING else field.default,
        )
        for field in fields
    )


def _is_hashable(kind: type, fields: list[Field]) -> bool:
    """Return whether the instances are hashable, as far as hints say; a generated `__hash__` hashes the fields."""
    method: Any = kind.__hash__
    if method is None or (inspect.isfunction(method) and method.__code__.co_filename != _GENERATED_METHOD):
        return method is not None
    compared = {field.name: field.compare if field.hash is None else field.hash for field in _dataclass_fields(kind)}
    return all(field.codec.hashable for field in fields if compared.get(field.name, True))


#: The file name of the methods that the dataclass decorator generates.
_GENERATED_METHOD = "<string>"


def _dataclass_fields(kind: Any) -> tuple[Any, ...]:
    return dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()


def _record_decoder(kind: type, fields: list[Field]) -> Converter:
    names: dict[str, Any] = {"kind": kind}
    arguments: list[str] = []
    optional: list[str] = []
    for index, field in enumerate(fields):
        names[f"decode{index}"] = field.codec.decode
        got = f"value[{field.name!r}]"
        expression = got if field.codec.decode is None else f"decode{index}({got})"
        if field.computed:
            continue
        if field.required:
            arguments.append(f"{field.name}={expression}")
        else:
            optional += [f" if {field.name!r} in value:", f"  optional[{field.name!r}] = {expression}"]
    lines = ["def codec(value):"]
    if optional:
        lines += [" optional = {}", *optional]
        arguments.append("**optional")
    lines.append(f" return kind({', '.join(arguments)})")
    decode = generate("\n".join(lines), names)
    computed = [field for field in fields if field.computed]
    return _checked_decoder(decode, computed) if computed else decode


def _checked_decoder(decode: Converter, computed: list[Field]) -> Converter:
    """Return a decoder that also rejects a computed field with another value than the class computes."""

    def decode_checked(value: Any) -> Any:
        found = decode(value)
        for field in computed:
            if field.name in value:
                sent, decode_part = value[field.name], field.codec.decode
                if getattr(found, field.name, MISSING) != (sent if decode_part is None else decode_part(sent)):
                    message = f"must leave out {field.name!r}, or have the value that the class computes for it"
                    raise Violation(message, "readOnly", True)
        return found

    return decode_checked


def _record_encoder(kind: type, fields: list[Field]) -> Converter:
    names: dict[str, Any] = {"kind": kind, "copy_json": copy_json}
    members: list[str] = []
    for index, field in enumerate(fields):
        names[f"encode{index}"] = field.codec.encode
        got = f"value.{field.name}"
        if not field.computed:
            members.append(f"{field.name!r}: " + (got if field.codec.encode is None else f"encode{index}({got})"))
    encode = generate(
        f"def codec(value):\n if isinstance(value, kind):\n  return {{{', '.join(members)}}}\n return copy_json(value)",
        names,
    )
    computed = [field for field in fields if field.computed]
    if not computed:
        return encode

    def encode_all(value: Any) -> Any:
        found = encode(value)
        if isinstance(value, kind):
            for field in computed:
                part = getattr(value, field.name, MISSING)
                if part is not MISSING:
                    found[field.name] = part if field.codec.encode is None else field.codec.encode(part)
        return found

    return encode_all


def typed_dict_codec(fields: list[Field]) -> Codec:
    """Return the codec of a TypedDict: its native value is a dict with each field decoded."""
    decoders = {field.name: field.codec.decode for field in fields if field.codec.decode is not None}
    encoders = {field.name: field.codec.encode for field in fields if field.codec.encode is not None}
    decode, encode = _member_converter(decoders), _member_converter(encoders)
    return Codec(
        object_schema(fields),
        decode,
        encode,
        (dict,),
        _field_children(fields),
        hashable=False,
        structure=lambda shape_of: MembersShape(shapes_of(fields, shape_of)),
    )


def _member_converter(converters: dict[str, Converter]) -> Converter:
    def convert_members(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        found = dict(value)
        for name, convert in converters.items():
            if name in found:
                found[name] = convert(found[name])
        return found

    return convert_members
