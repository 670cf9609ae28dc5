"""Constraints in `Annotated[...]`: Portal's own, and those of annotated-types, pydantic and msgspec."""

from __future__ import annotations

from .classes import Description, Example, Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf, Pattern, Unique
from .keywords import constrain

__all__ = [
    "Description",
    "Example",
    "Ge",
    "Gt",
    "Le",
    "Lt",
    "MaxLen",
    "MinLen",
    "MultipleOf",
    "Pattern",
    "Unique",
    "constrain",
]
