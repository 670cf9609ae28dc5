"""Backoff and Reconnect."""

from __future__ import annotations

from typing import Any

import pytest

from portal import ConfigError
from portal.websocket.client.backoff import Backoff, Reconnect


def test_the_bound_doubles_up_to_its_maximum_and_starts_anew() -> None:
    backoff = Backoff(Reconnect(initial_backoff=1.0, max_backoff=5.0), lambda: 0.5)
    assert [backoff.next_wait() for _ in range(5)] == [0.5, 1.0, 2.0, 2.5, 2.5]
    backoff.reset()
    assert backoff.next_wait() == 0.5


def test_full_jitter_reaches_from_zero_to_the_bound() -> None:
    backoff = Backoff(Reconnect(initial_backoff=4.0, max_backoff=4.0, multiplier=1.0))
    waits = [backoff.next_wait() for _ in range(2000)]
    assert 0 <= min(waits) < 0.5
    assert 3.5 < max(waits) < 4.0
    assert 1.8 < sum(waits) / len(waits) < 2.2


def test_a_delay_of_the_server_is_spread() -> None:
    assert Backoff(Reconnect(), lambda: 0.25).spread(8.0) == 2.0


@pytest.mark.parametrize(
    "settings",
    [
        {"initial_backoff": 0},
        {"initial_backoff": True},
        {"initial_backoff": 2.0, "max_backoff": 1.0},
        {"max_backoff": float("inf")},
        {"multiplier": 0.5},
        {"stable_after": -1},
    ],
)
def test_wrong_settings_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"reconnect\."):
        Reconnect(**settings)
