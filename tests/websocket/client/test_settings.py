"""LinkSettings."""

from __future__ import annotations

from portal.websocket.client.backoff import Reconnect
from portal.websocket.client.settings import LinkSettings


def test_the_defaults_are_bounded() -> None:
    settings = LinkSettings()
    assert settings.reconnect == Reconnect()
    assert settings.heartbeat is not None
    assert settings.max_message_size == 1024 * 1024
    assert settings.sessions
