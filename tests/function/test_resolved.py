"""Functions that an address was resolved to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal import (
    LocalPortal,
    ValidationError,
)
from portal import function as make


@make
def add(a: float, b: float = 1) -> float:
    """Add two numbers."""
    return a + b


@make
def typed() -> Iterator[int]:
    yield 1


def test_resolved() -> None:
    with LocalPortal() as portal:
        there = portal.resolve_function(portal.apply(add))
        assert there(1, b=2) == 3.0
        assert "at local://add/" in repr(there)
        stream = portal.resolve_function(portal.apply(typed))
        assert list(stream()) == [1]
        assert list(stream.stream()) == [1]
        with pytest.raises(ValidationError):
            there(1, 2, 3)
