"""ItemKey: the idempotency key of one call of a batch."""

from __future__ import annotations

import hashlib

__all__ = ["ItemKey"]


class ItemKey(str):
    """The idempotency key of one call of a batch, made of the batch's key and the call's position.

    The text is a digest of fixed length, so that a header can carry it to another server. Its type distinguishes it
    from the key of a single call in this process, even if the text is the same.

    Threads: immutable; any thread may read it.
    """

    __slots__ = ()

    @classmethod
    def of(cls, key: str, index: int) -> ItemKey:
        """Return the key of the call at a position, counted from 0."""
        return cls(hashlib.sha256(f"batch {index} {key}".encode()).hexdigest())
