"""A portal that the tests of a Consumer call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal import LocalPortal


def add(a: float, b: float) -> float:
    return a + b


def fail() -> None:
    raise ValueError("no")


@pytest.fixture
def local() -> Iterator[LocalPortal]:
    """A LocalPortal that publishes `add` and `fail`."""
    with LocalPortal() as portal:
        portal.apply(add)
        portal.apply(fail)
        yield portal
