"""Portals join, leave, are killed and frozen under load: no call fails, and the directory shows each event."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.directory_events import Events


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_no_call_fails_while_portals_come_and_go(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_TEST_DIRECTORY", "")
    url = f"sqlite://{tmp_path}/portals.sqlite"
    if kind == "redis":
        url = request.getfixturevalue("valkey_url") + "#events"
    events = Events(url, seed=7)
    events.run(4)
    assert events.failures == []
    assert events.calls > 0
    assert set(events.times) == {"start", "join", "leave", "kill", "freeze", "thaw"}
