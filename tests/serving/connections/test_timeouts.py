"""When a connection is closed whose client is silent."""

from __future__ import annotations

import pytest

from portal.serving import ServingConfig
from portal.serving.connections.timeouts import silence_deadline

CONFIG = ServingConfig(head_timeout=10.0, body_timeout=30.0, idle_timeout=60.0)
NOW, BEFORE = 100.0, 105.0


@pytest.mark.parametrize(
    ("state", "previous", "deadline"),
    [
        ("idle", "idle", NOW + 60.0),
        ("idle", "body", NOW + 60.0),
        ("head", "idle", NOW + 10.0),
        ("head", "body", NOW + 10.0),
        ("head", "head", BEFORE),
        ("body", "head", NOW + 30.0),
        ("body", "idle", NOW + 30.0),
        ("body", "body", BEFORE),
    ],
)
def test_a_head_or_body_in_progress_keeps_its_deadline(state: str, previous: str, deadline: float) -> None:
    assert silence_deadline(state, previous, BEFORE, NOW, CONFIG) == deadline
