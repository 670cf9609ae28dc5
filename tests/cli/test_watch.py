"""`portal serve` says when its portal does not serve."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from portal.cli import watch
from portal.cli.watch import wait_and_watch
from portal.errors import PortalError
from tests.support.clocks import Clock


class Looks:
    """A portal and a source of signals: each look finds the next of the given states."""

    def __init__(self, *states: list[str], clock: Clock | None = None, seconds: float = 1.0) -> None:
        self.states = list(states)
        self.failing: list[str] = []
        self.clock = clock
        self.seconds = seconds
        self.listener = self

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert timeout < 1
        if not self.states:
            return True
        self.failing = self.states.pop(0)
        if self.clock is not None:
            self.clock.now += self.seconds
        return False


def watched(looks: Looks) -> None:
    without_listener: Any = SimpleNamespace()
    wait_and_watch([looks, without_listener], looks)  # type: ignore[list-item]


def test_nothing_is_said_of_a_portal_that_serves(caplog: pytest.LogCaptureFixture) -> None:
    watched(Looks([], []))
    assert not caplog.records


def test_it_says_when_a_portal_is_not_ready_and_when_it_is_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts: list[int] = []
    monkeypatch.setattr(watch, "restart_lost_loops", lambda: restarts.append(1))
    watched(Looks([], ["portal-listener", "portal-log"], ["portal-listener"], [], []))
    assert [record.getMessage() for record in caplog.records] == [
        "not ready: failing=portal-listener,portal-log",
        "ready again",
    ]
    assert len(restarts) == 2


def test_it_ends_when_a_portal_is_not_ready_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(100.0)
    monkeypatch.setattr(watch, "monotonic", clock)
    bad = ["portal-listener"]
    watched(Looks(bad, bad, [], bad, bad, clock=clock, seconds=15.0))  # not for half a minute in one piece
    with pytest.raises(PortalError, match="the server does not serve: failing=portal-listener"):
        watched(Looks(bad, bad, bad, clock=clock, seconds=15.0))
