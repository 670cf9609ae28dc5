"""Fixtures for pytest: `portal_testing`, `portal_consumer`, `local_portal`.

Loaded by pytest itself; Portal is imported when a fixture is first used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .consumer import Consumer
    from .local import LocalPortal
    from .testing import TestingPortal

__all__ = ["local_portal", "portal_consumer", "portal_testing"]


@pytest.fixture
def portal_testing() -> Iterator[TestingPortal]:
    """A TestingPortal; its expectations are verified when the test has ended."""
    from .testing import TestingPortal

    with TestingPortal() as portal:
        yield portal
        portal.verify()


@pytest.fixture
def portal_consumer(portal_testing: TestingPortal) -> Iterator[Consumer]:
    """A Consumer that sees the test's TestingPortal alone."""
    from .consumer import Consumer

    with Consumer([portal_testing]) as consumer:
        yield consumer


@pytest.fixture
def local_portal() -> Iterator[LocalPortal]:
    """A LocalPortal, closed after the test."""
    from .local import LocalPortal

    with LocalPortal() as portal:
        yield portal
