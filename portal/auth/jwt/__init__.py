"""JSON Web Tokens as credentials (RFC 7519): the authenticator, keys and key sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .authenticator import JWTAuth

__all__ = [
    "JWTAuth",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "JWTAuth": "authenticator",
    },
)
