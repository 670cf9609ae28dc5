"""WebSocketConfig: defaults, presets and wrong values."""

from __future__ import annotations

import math

import pytest

from portal import ConfigError
from portal.websocket.server.settings import WebSocketConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_connections", 0),
        ("max_calls", True),
        ("max_subscriptions", -1),
        ("max_message", 0),
        ("max_queued", 1.5),
        ("messages_per_second", "10"),
        ("max_connections_per_client", 0),
        ("max_subscriptions_per_client", 0),
        ("max_all_subscriptions", 0),
        ("max_subscription_params", 0),
        ("ping_interval", 0),
        ("ping_timeout", math.inf),
        ("idle_timeout", -1),
        ("credential_grace", math.nan),
        ("goaway_delay", 90_000),
        ("deflate", True),
    ],
)
def test_a_wrong_value_is_rejected_with_its_setting(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"websocket\.{name} must be"):
        WebSocketConfig(**{name: value})  # type: ignore[arg-type]


def test_a_client_has_half_of_the_connections_by_default() -> None:
    assert WebSocketConfig(max_connections=9).connections_per_client == 4
    assert WebSocketConfig(max_connections=1).connections_per_client == 1
    assert WebSocketConfig(max_connections_per_client=7).connections_per_client == 7


def test_a_client_has_half_of_the_subscriptions_by_default() -> None:
    assert WebSocketConfig(max_all_subscriptions=9).subscriptions_per_client == 4
    assert WebSocketConfig(max_subscriptions_per_client=7).subscriptions_per_client == 7


def test_presets_take_changes() -> None:
    assert WebSocketConfig.development(goaway_delay=1.0).goaway_delay == 1.0
    assert WebSocketConfig.development().ping_interval < WebSocketConfig().ping_interval
    assert WebSocketConfig.production().max_connections > WebSocketConfig().max_connections
    with pytest.raises(ConfigError, match="WebSocketConfig has no setting max_connection"):
        WebSocketConfig.production(max_connection=1)
