"""Fixtures for pytest.

    portal_testing      a TestingPortal, whose expectations are verified at the end of the test
    portal_testing_at   makes such a portal that responds at the addresses below a base
    portal_consumer     a Consumer that sees this TestingPortal alone
    local_portal        a LocalPortal
    portal_server       serves functions over HTTP in another process
    portal_faults       puts a proxy that injects network faults in front of a server

pytest loads this module by itself; a fixture imports the rest of Portal when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .consumer import Consumer
    from .local.portal import LocalPortal
    from .testing import FaultProxy, TestingPortal
    from .testing.server_processes import ServerProcesses

__all__ = ["local_portal", "portal_consumer", "portal_faults", "portal_server", "portal_testing", "portal_testing_at"]

_PORTALS = pytest.StashKey["list[TestingPortal]"]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Verify the TestingPortal as the last step of a test that has passed; a failed expectation fails the test."""
    yield
    for portal in item.stash.get(_PORTALS, ()):
        portal.verify()


@pytest.fixture
def portal_testing(request: pytest.FixtureRequest) -> Iterator[TestingPortal]:
    """Yield a TestingPortal. If the test passes, its expectations are verified. The portal is closed in any case."""
    from .testing import TestingPortal

    with TestingPortal() as portal:
        request.node.stash.setdefault(_PORTALS, []).append(portal)
        yield portal
        request.node.stash.get(_PORTALS, []).clear()  # a plug-in may run the test again


@pytest.fixture
def portal_testing_at(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestingPortal]]:
    """Yield a function that opens `TestingPortal(base=...)`. Expectations are verified as those of `portal_testing`."""
    from .testing import TestingPortal

    opened: list[TestingPortal] = request.node.stash.setdefault(_PORTALS, [])
    with ExitStack() as stack:

        def open_at(base: str, **options: Any) -> TestingPortal:
            portal = stack.enter_context(TestingPortal(base=base, **options))
            opened.append(portal)
            return portal

        yield open_at
        request.node.stash.get(_PORTALS, []).clear()  # a plug-in may run the test again


@pytest.fixture
def portal_consumer(portal_testing: TestingPortal) -> Iterator[Consumer]:
    """Yield a Consumer that sees the TestingPortal of the test alone."""
    from .consumer import Consumer

    with Consumer([portal_testing]) as consumer:
        yield consumer


@pytest.fixture
def local_portal() -> Iterator[LocalPortal]:
    """Yield a LocalPortal and close it after the test."""
    from .local.portal import LocalPortal

    with LocalPortal() as portal:
        yield portal


@pytest.fixture
def portal_server() -> Iterator[ServerProcesses]:
    """Yield a callable that serves functions in another process and returns the base address.

    `portal_server(add)`, `portal_server("shop.orders:service", debug=True)`; `portal_server.kill(base)` kills one
    process. The others are killed after the test.
    """
    from .testing.server_processes import ServerProcesses

    with ServerProcesses() as processes:
        yield processes


@pytest.fixture
def portal_faults() -> Iterator[Callable[..., FaultProxy]]:
    """Yield a callable that starts a FaultProxy; it takes the arguments of that class.

    `proxy = portal_faults(base, Cut(after=10))`, then call `proxy.through(address)`. The proxies are closed after the
    test.
    """
    from .testing import FaultProxy

    with ExitStack() as stack:

        def start(target: object, *faults: object, **options: object) -> FaultProxy:
            return stack.enter_context(FaultProxy(target, faults, **options))  # type: ignore[arg-type]

        yield start
