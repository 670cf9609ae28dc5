"""ResolvedFunction: a function at an address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import pytest

from portal import Consumer, HTTPPortal, LocalPortal, Portal, ValidationError
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


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Item:
    sku: str


@make
def count(items: tuple[Item, ...], colours: set[Colour], stock: dict[Colour, int]) -> int:
    return len(items) + len(colours) + stock[Colour.RED]


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal])
def test_containers_of_classes_are_passed_alike_to_every_portal(kind: type[Portal]) -> None:
    with kind() as portal, Consumer([portal]) as consumer:
        resolved = consumer.resolve(portal.apply(count))
        assert resolved(items=(Item("a"),), colours={Colour.RED}, stock={Colour.RED: 3}) == 5
