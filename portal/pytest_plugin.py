"""Fixtures for pytest: `portal_testing`, `portal_consumer`, `local_portal`.

Loaded by pytest itself; Portal is imported when a fixture is first used.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .consumer import Consumer
    from .local.portal import LocalPortal
    from .testing import TestingPortal

__all__ = ["local_portal", "portal_consumer", "portal_testing"]

_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether the test itself passed, for the fixture below."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
def portal_testing(request: pytest.FixtureRequest) -> Iterator[TestingPortal]:
    """A TestingPortal; its expectations are verified when the test has passed, and it is closed in any case."""
    from .testing import TestingPortal

    with TestingPortal() as portal:
        yield portal
        if request.node.stash.get(_PASSED, False):
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
    from .local.portal import LocalPortal

    with LocalPortal() as portal:
        yield portal
