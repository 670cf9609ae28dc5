"""Schemas from type hints, marshmallow and JSON Schema, and the contract of a function made of them."""

from __future__ import annotations

from . import constraints, marshmallow_schema
from .compiled import is_json
from .function_schema import FunctionSchema, check_name
from .parameters import Parameters
from .schema import Schema
from .unclassed import unclassed

__all__ = [
    "FunctionSchema",
    "Parameters",
    "Schema",
    "check_name",
    "constraints",
    "is_json",
    "marshmallow_schema",  # imported so that it adds its schemas to those that are known
    "unclassed",
]
