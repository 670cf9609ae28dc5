"""Portals join, leave, are killed and frozen under load: no call fails, and the directory shows each event."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from tests.support.directory_events import Events
from tests.support.directory_members import DIRECTORY_KINDS, TTL, members_of
from tests.support.dns_server import DNSServer


@pytest.mark.parametrize("kind", DIRECTORY_KINDS)
def test_no_call_fails_while_portals_come_and_go(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    answer = DNSServer._answer

    def note(self: DNSServer, data: bytes) -> bytes:
        asked.append(monotonic())
        return answer(self, data)

    monkeypatch.setattr(DNSServer, "_answer", note)
    with members_of(kind, tmp_path, request) as members:
        kinds = members.kinds
        events = Events(members, seed=7)
        events.run(4)
    assert events.failures == []
    assert events.calls > 0
    assert set(events.times) == {"start", *kinds, *(["thaw"] if "freeze" in kinds else [])}
    if kind == "dns":
        assert len(asked) <= 1 + (asked[-1] - asked[0]) / TTL, "an answer holds for its TTL"
