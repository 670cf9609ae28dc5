"""The one call that every contestant answers: two floats are added."""

from __future__ import annotations

__all__ = ["BODY", "EXPECTED", "PARAMS", "REFUSED", "add"]

PARAMS = {"a": 1.5, "b": 2.5}
BODY = b'{"a":1.5,"b":2.5}'
EXPECTED = 4.0
REFUSED = b'{"a":"x","b":2.5}'  # what a contestant that validates answers with 4xx


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b
