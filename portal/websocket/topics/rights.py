"""TopicRights: who may subscribe to a topic, and which clients may publish."""

from __future__ import annotations

from collections.abc import Iterable

from ..._internal.settings import strings
from ...context import Identity
from ...errors import AuthenticationError, AuthorizationError

__all__ = ["TopicRights"]


class TopicRights:
    """The scopes that a topic requires.

    Args:
        name: the topic, for messages.
        scopes: what an identity needs to subscribe.
        publish_scopes: what an identity needs to publish as a client; None if clients may not publish.

    Raises: ConfigError for a wrong setting.

    Threads: any; it does not change.
    """

    def __init__(self, name: str, scopes: Iterable[str], publish_scopes: Iterable[str] | None) -> None:
        self._name = name
        self.scopes = _scopes("topic.scopes", scopes)
        self.publish_scopes = None if publish_scopes is None else _scopes("topic.publish_scopes", publish_scopes)

    def require_subscribe(self, identity: Identity | None) -> None:
        """Check the right to subscribe. Raises: AuthenticationError, AuthorizationError."""
        _require(self.scopes, identity, f"the topic {self._name}")

    def require_publish(self, identity: Identity | None) -> None:
        """Check the right of a client to publish. Raises: AuthenticationError, AuthorizationError."""
        if self.publish_scopes is None:
            raise AuthorizationError(f"clients may not publish to the topic {self._name}")
        _require(self.publish_scopes, identity, f"publishing to the topic {self._name}")


def _scopes(setting: str, given: Iterable[str]) -> frozenset[str]:
    return frozenset(strings(setting, given, expected="a list of scopes"))


def _require(scopes: frozenset[str], identity: Identity | None, subject: str) -> None:
    if not scopes:
        return
    if identity is None:
        raise AuthenticationError(f"{subject} requires a credential")
    missing = sorted(scopes - identity.scopes)
    if missing:
        words = f"{subject} requires {'scope' if len(missing) == 1 else 'scopes'} {', '.join(missing)}"
        raise AuthorizationError(words, context={"missing_scopes": missing})
