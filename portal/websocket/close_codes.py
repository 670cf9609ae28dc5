"""CloseCode: the codes with which a WebSocket connection is closed.

Sources: RFC 6455 section 7.4; the codes from 4400 follow the graphql-ws protocol.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CloseCode", "is_sendable"]


class CloseCode(IntEnum):
    """The code of a close frame, or of a connection that ended without one."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    """The close frame had no code; never sent."""
    ABNORMAL = 1006
    """The connection ended without a close frame; never sent."""
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013
    CREDENTIALS_EXPIRED = 4401
    """Credentials are missing or expired."""
    FORBIDDEN = 4403
    TIMEOUT = 4408
    """The client was silent for too long."""
    SESSION_TAKEN_OVER = 4409
    """Another connection has resumed the session."""
    SLOW_CONSUMER = 4413
    """The peer reads too slowly."""
    TOO_MANY = 4429
    """The client sends too many messages, or has too many connections or subscriptions."""


_NEVER_SENT = frozenset({1004, CloseCode.NO_STATUS, CloseCode.ABNORMAL, 1015})


def is_sendable(code: int) -> bool:
    """Return whether a close frame may have this code."""
    return (1000 <= code <= 1014 and code not in _NEVER_SENT) or 3000 <= code <= 4999
