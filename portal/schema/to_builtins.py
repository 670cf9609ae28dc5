"""Convert instances of Python classes to dicts and scalars, for a schema that arrived as JSON and has no classes."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from .jsondata import MAX_DEPTH

__all__ = ["to_builtins"]


def to_builtins(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return the value with dataclasses and named tuples as dicts, and enum members as their values, at any depth.

    Other values are returned unchanged, such as a datetime or a Decimal: the schema's own codec converts them. So is
    what is nested more than `depth` containers deep.
    """
    if depth <= 0:
        return value
    kind = type(value)
    if kind is dict:
        return {name: to_builtins(item, depth - 1) for name, item in value.items()}
    if kind is list:
        return [to_builtins(item, depth - 1) for item in value]
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        return {name: to_builtins(getattr(value, name), depth - 1) for name in names}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {name: to_builtins(item, depth - 1) for name, item in zip(kind._fields, value, strict=True)}
    return value
