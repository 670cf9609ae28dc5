"""Convert instances of Python classes to dicts and scalars, for a schema that arrived as JSON and has no classes."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from .jsondata import MAX_DEPTH

__all__ = ["to_builtins"]


def to_builtins(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return the value without classes that a JSON Schema does not name, at any depth.

    Dataclasses and named tuples become dicts, other tuples and sets become lists, and enum members become their values,
    also as keys. A set is sorted if its items can be sorted. Other values are returned unchanged, such as a datetime or
    a Decimal: the codec of the schema converts them. So is what is nested more than `depth` containers deep.
    """
    if depth <= 0:
        return value
    kind = type(value)
    if kind is dict:
        return {_builtin_key(name): to_builtins(item, depth - 1) for name, item in value.items()}
    if kind is list or kind is tuple:
        return [to_builtins(item, depth - 1) for item in value]
    if kind is set or kind is frozenset:
        items = [to_builtins(item, depth - 1) for item in value]
        try:
            return sorted(items)
        except TypeError:
            return items
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        return {name: to_builtins(getattr(value, name), depth - 1) for name in names}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {name: to_builtins(item, depth - 1) for name, item in zip(kind._fields, value, strict=True)}
    return value


def _builtin_key(name: Any) -> Any:
    """Return the value of an enum member if it is a string, as the keys of a JSON object are."""
    return name.value if isinstance(name, Enum) and isinstance(name.value, str) else name
