"""Nodes of what has named fields: dataclasses, typed dicts, named tuples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .codecs import Node, generate
from .jsondata import copy_json
from .validator import Validator, is_json

__all__ = ["MISSING", "Field", "object_json", "record_node", "typed_dict_node"]

MISSING: Any = object()


@dataclass(slots=True)
class Field:
    """One named field: its node, whether it must be there, and its native default (MISSING for none)."""

    name: str
    node: Node
    required: bool
    default: Any = MISSING
    keyword: bool = True


def object_json(fields: list[Field]) -> dict[str, Any]:
    """The JSON Schema of an object with exactly these fields; defaults are written where they are JSON data."""
    properties = {}
    for field in fields:
        json = field.node.json
        if field.default is not MISSING:
            found = _default_json(field)
            json = json if found is MISSING else {**json, "default": found}
        properties[field.name] = json
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    required = [field.name for field in fields if field.required]
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema


def _default_json(field: Field) -> Any:
    try:
        found = field.default if field.node.encode is None else field.node.encode(field.default)
    except Exception:  # a default is any object at all, and one that JSON cannot carry is simply not written
        return MISSING
    if not is_json(found):
        return MISSING
    # a recursive type's $ref has no target yet; None is then the common default, and is taken on trust
    if "#/$defs/" in str(field.node.json):
        return found if found is None else MISSING
    return found if Validator(field.node.json).accepts(found) else MISSING


def _children_of(fields: list[Field]) -> Callable[[Any], Iterator[tuple[str, Node, Any]]]:
    def children(value: Any) -> Iterator[tuple[str, Node, Any]]:
        for field in fields:
            if field.name in value:
                yield field.name, field.node, value[field.name]

    return children


def _sources(fields: list[Field]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Names and, one a field, the expressions that decode `value["x"]` and encode `value.x`."""
    names: dict[str, Any] = {}
    decoders, encoders = [], []
    for index, field in enumerate(fields):
        names[f"decode{index}"] = field.node.decode
        names[f"encode{index}"] = field.node.encode
        key, got = f"value[{field.name!r}]", f"value.{field.name}"
        decoders.append(key if field.node.decode is None else f"decode{index}({key})")
        encoders.append(f"{field.name!r}: " + (got if field.node.encode is None else f"encode{index}({got})"))
    return names, decoders, encoders


def record_node(kind: type, fields: list[Field]) -> Node:
    """A class made by keyword from its fields and read by attribute: a dataclass or a named tuple."""
    names, decoders, encoders = _sources(fields)
    names |= {"kind": kind, "copy_json": copy_json}
    lines = ["def codec(value):"]
    fixed = [f"{field.name}={source}" for field, source in zip(fields, decoders, strict=True) if field.required]
    optional = [(field, source) for field, source in zip(fields, decoders, strict=True) if not field.required]
    if optional:
        lines.append(" more = {}")
        for field, source in optional:
            lines += [f" if {field.name!r} in value:", f"  more[{field.name!r}] = {source}"]
        fixed.append("**more")
    lines.append(f" return kind({', '.join(fixed)})")
    encode = (
        f"def codec(value):\n if isinstance(value, kind):\n  return {{{', '.join(encoders)}}}\n return copy_json(value)"
    )
    return Node(
        object_json(fields), generate("\n".join(lines), names), generate(encode, names), (kind,), _children_of(fields)
    )


def typed_dict_node(fields: list[Field]) -> Node:
    """A typed dict: the same object natively, with its fields decoded."""
    decoders = {field.name: field.node.decode for field in fields if field.node.decode is not None}
    encoders = {field.name: field.node.encode for field in fields if field.node.encode is not None}
    return Node(object_json(fields), _by_name(decoders), _by_name(encoders), (dict,), _children_of(fields))


def _by_name(codecs: dict[str, Any]) -> Callable[[Any], Any]:
    def codec(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        found = dict(value)
        for name, convert in codecs.items():
            if name in found:
                found[name] = convert(found[name])
        return found

    return codec
