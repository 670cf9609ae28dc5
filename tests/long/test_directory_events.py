"""50 joins, leaves, kills and freezes under load, for each kind of directory; prints the table of docs/scaling.md."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.support.directory_events import Events
from tests.support.directory_members import DIRECTORY_KINDS, members_of


@pytest.mark.parametrize("kind", DIRECTORY_KINDS)
def test_50_events_long(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with members_of(kind, tmp_path, request) as members:
        events = Events(members, seed=11)
        events.run(50)
    print(f"\n{kind}: {events.calls} calls, {len(events.failures)} failed; a lease of 2 s, a TTL of 1 s")
    for event, times in sorted(events.times.items()):
        print(f"  {event:8} {len(times):3} times: {median(times):.2f} s, at most {max(times):.2f} s")
    assert events.failures == []
