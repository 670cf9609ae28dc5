"""Native values of classes that a contract from elsewhere does not know, taken apart as their hints would be."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from .jsondata import MAX_DEPTH

__all__ = ["unclassed"]


def unclassed(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The value with dataclasses and named tuples as dicts and enum members as their values, at any depth.

    Everything else, and what is nested deeper than JSON may be, is left as it is: the contract's own hints say what
    becomes of a datetime or a Decimal.
    """
    if depth <= 0:
        return value
    kind = type(value)
    if kind is dict:
        return {name: unclassed(item, depth - 1) for name, item in value.items()}
    if kind is list:
        return [unclassed(item, depth - 1) for item in value]
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(kind):
        fields = [field.name for field in dataclasses.fields(kind) if field.init]
        return {name: unclassed(getattr(value, name), depth - 1) for name in fields}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {name: unclassed(item, depth - 1) for name, item in zip(kind._fields, value, strict=True)}
    return value
