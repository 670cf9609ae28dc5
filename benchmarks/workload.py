"""The one call that every contestant answers: two floats are added."""

from __future__ import annotations

from time import time

__all__ = ["BODY", "EXPECTED", "JWT_KEY", "PARAMS", "REFUSED", "add", "authorization"]

PARAMS = {"a": 1.5, "b": 2.5}
BODY = b'{"a":1.5,"b":2.5}'
EXPECTED = 4.0
REFUSED = b'{"a":"x","b":2.5}'  # what a contestant that validates answers with 4xx
#: What the protected server checks tokens with.
JWT_KEY = "a key for benchmarks alone, of the length that HS256 wants"


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def authorization() -> dict[str, str]:
    """The header of a caller whom the protected server lets in; valid for a day."""
    import jwt

    claims = {"sub": "ann", "exp": int(time()) + 86_400}
    return {"Authorization": f"Bearer {jwt.encode(claims, JWT_KEY, algorithm='HS256')}"}
