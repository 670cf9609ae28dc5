"""Schemas from type hints, marshmallow and JSON Schema, and the schema of a function made of them."""

from __future__ import annotations

from . import constraints, marshmallow_schema
from .bounds import ValidationLimits, set_validation_limits, validation_stats
from .codecs.files import Bytes, File
from .constraints import (
    Description,
    Example,
    Ge,
    Gt,
    Le,
    Lt,
    MaxLen,
    MinLen,
    MultipleOf,
    Pattern,
    Unique,
)
from .foreign.register import register_type
from .function_schema import FunctionSchema
from .names import check_name
from .parameters import Parameters
from .schema import Schema
from .to_builtins import to_builtins
from .transfer import Body, Header
from .validator import is_json

__all__ = [
    "Body",
    "Bytes",
    "Description",
    "Example",
    "File",
    "FunctionSchema",
    "Ge",
    "Gt",
    "Header",
    "Le",
    "Lt",
    "MaxLen",
    "MinLen",
    "MultipleOf",
    "Parameters",
    "Pattern",
    "Schema",
    "Unique",
    "ValidationLimits",
    "check_name",
    "constraints",
    "is_json",
    "marshmallow_schema",  # imported so that it registers its factory
    "register_type",
    "set_validation_limits",
    "to_builtins",
    "validation_stats",
]
