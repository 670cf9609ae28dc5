"""ResolvedFunction: a function at an address."""

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


def test_a_resolved_function_is_called_like_the_function_itself() -> None:
    with LocalPortal() as portal:
        resolved = portal.resolve_function(portal.apply(add))
        assert resolved(1, b=2) == 3.0
        assert "at local://add/" in repr(resolved)
        stream = portal.resolve_function(portal.apply(typed))
        assert list(stream()) == [1]
        assert list(stream.stream()) == [1]
        with pytest.raises(ValidationError):
            resolved(1, 2, 3)
