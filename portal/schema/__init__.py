"""Schemas from type hints, marshmallow and JSON Schema, and the contract of a function made of them."""

from __future__ import annotations

from . import constraints
from .compiled import is_json
from .function_schema import FunctionSchema, check_name
from .parameters import Parameters
from .schema import Schema
from .unclassed import unclassed

__all__ = ["FunctionSchema", "Parameters", "Schema", "check_name", "constraints", "is_json", "unclassed"]
