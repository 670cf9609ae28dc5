"""The built-in resolvers of servers."""

from __future__ import annotations

import pytest

from portal import ConfigError
from portal.auth.credentials import credentials_of
from portal.consumer.remote import RemoteResolvers
from portal.http import HTTPClient, HTTPResolver
from portal.websocket import WebSocketClient, WebSocketResolver


def test_each_built_in_scheme_has_its_resolver() -> None:
    remote = RemoteResolvers(None, None, 3.0)
    made = {scheme: remote.make(scheme) for scheme in ("http", "https", "ws", "wss", "js")}
    assert [type(made[scheme]) for scheme in ("http", "https", "ws", "wss")] == [
        *[HTTPResolver] * 2,
        *[WebSocketResolver] * 2,
    ]
    assert made["js"] is None


def test_clients_that_were_given_are_configured() -> None:
    remote = RemoteResolvers(credentials_of("t0ken"), None, None)
    found = remote.configured(HTTPClient(), WebSocketClient())
    assert [resolver.schemes for resolver in found] == [("http", "https"), ("ws", "wss")]
    assert remote.configured(None, None) == []


def test_other_objects_are_rejected() -> None:
    remote = RemoteResolvers(None, None, None)
    with pytest.raises(ConfigError, match=r"consumer\.websocket must be a WebSocketClient"):
        remote.configured(None, HTTPClient())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"consumer\.http must be an HTTPClient"):
        remote.configured(WebSocketClient(), None)  # type: ignore[arg-type]
