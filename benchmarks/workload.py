"""The one call that every contestant serves: it adds two floats."""

from __future__ import annotations

from time import time

__all__ = ["BODY", "EXPECTED", "INVALID", "JWT_KEY", "PARAMS", "add", "authorization"]

PARAMS = {"a": 1.5, "b": 2.5}
BODY = b'{"a":1.5,"b":2.5}'
EXPECTED = 4.0
INVALID = b'{"a":"x","b":2.5}'  # a contestant that validates rejects it with 4xx
#: The key with which the protected server checks tokens.
JWT_KEY = "a key for benchmarks alone, of the length that HS256 wants"


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def authorization() -> dict[str, str]:
    """Return the header that the protected server accepts; it is valid for a day."""
    import jwt

    claims = {"sub": "ann", "exp": int(time()) + 86_400}
    return {"Authorization": f"Bearer {jwt.encode(claims, JWT_KEY, algorithm='HS256')}"}
