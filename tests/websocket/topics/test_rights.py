"""Who may subscribe and publish."""

from __future__ import annotations

from typing import Any

import pytest

from portal.context import Identity
from portal.errors import AuthenticationError, AuthorizationError, ConfigError
from portal.websocket.topics.rights import TopicRights


def test_without_scopes_everybody_may_subscribe_and_no_client_publish() -> None:
    rights = TopicRights("ticks", (), None)
    rights.require_subscribe(None)
    with pytest.raises(AuthorizationError, match="clients may not publish to the topic ticks"):
        rights.require_publish(Identity("ann", frozenset({"all"})))


def test_with_an_empty_list_every_client_may_publish() -> None:
    TopicRights("ticks", (), ()).require_publish(None)


@pytest.mark.parametrize("method", ["require_subscribe", "require_publish"])
def test_an_identity_needs_all_scopes(method: str) -> None:
    check = getattr(TopicRights("ticks", ["a", "b"], ["a", "b"]), method)
    check(Identity("ann", frozenset({"a", "b", "c"})))
    with pytest.raises(AuthenticationError):
        check(None)
    with pytest.raises(AuthorizationError, match="scope b") as caught:
        check(Identity("ann", frozenset({"a"})))
    assert caught.value.context["missing_scopes"] == ["b"]


@pytest.mark.parametrize("scopes", ["read", [1], [""], None])
def test_wrong_scopes_are_rejected(scopes: Any) -> None:
    with pytest.raises(ConfigError, match=r"topic\.scopes"):
        TopicRights("ticks", scopes, None)
