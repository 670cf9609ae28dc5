"""Convert instances of Python classes to dicts and scalars, for a schema that arrived as JSON and has no classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Any

from .codecs.containers import sorted_items
from .foreign.models import encode_foreign
from .jsondata import MAX_DEPTH

__all__ = ["to_builtins"]


def to_builtins(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return the value without classes that a JSON Schema does not name, at any depth.

    Dataclasses, named tuples and other mappings become dicts. Other sequences and sets become lists, and enum members
    become their values. An integer key becomes its digits. A set is sorted. Other values are returned unchanged: a
    datetime or a Decimal, which the codec of the schema converts, and what is nested more than `depth` containers deep.
    """
    if depth <= 0:
        return value
    kind = type(value)
    if kind is dict:
        return {_builtin_key(name): to_builtins(item, depth - 1) for name, item in value.items()}
    if kind is list or kind is tuple:
        return [to_builtins(item, depth - 1) for item in value]
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        return {name: to_builtins(getattr(value, name), depth - 1) for name in names}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {name: to_builtins(item, depth - 1) for name, item in zip(kind._fields, value, strict=True)}
    if isinstance(value, str | bytes | bytearray | memoryview):
        return value
    if isinstance(value, Set):
        return sorted_items([to_builtins(item, depth - 1) for item in value])
    if isinstance(value, Sequence):
        return [to_builtins(item, depth - 1) for item in value]
    if isinstance(value, Mapping):
        return {_builtin_key(name): to_builtins(item, depth - 1) for name, item in value.items()}
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return {one.name: to_builtins(getattr(value, one.name), depth - 1) for one in attributes if one.init}
    return encode_foreign(value)


def _builtin_key(name: Any) -> Any:
    """Return the value of an enum member as a key, and an integer as its digits: names in JSON are strings."""
    if isinstance(name, Enum):
        name = name.value
    return str(name) if type(name) is int else name
