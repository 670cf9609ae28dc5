"""HeldKeys: the keys that a running request or message counts for, such as its function and its client."""

from __future__ import annotations

import threading

from ..._internal.executor import WorkerPool
from ..._internal.job_queue import Key, Keys

__all__ = ["HeldKeys"]


class HeldKeys:
    """The keys of a running job of a pool, and those that it holds beside them.

    Args:
        keys: those that the job was submitted with.

    Threads: the thread of the job. Another thread may call `abandon`.
    """

    __slots__ = ("_abandoned", "_keys", "_lock", "_over", "_own", "_pool")

    def __init__(self, pool: WorkerPool, keys: Keys = ()) -> None:
        self._pool = pool
        self._own = keys
        self._keys: Keys = ()
        self._abandoned: Keys = ()
        self._over = False
        self._lock = threading.Lock()  # of `abandon` and `release` one comes first

    @property
    def client(self) -> str | None:
        """The client of the job: its identity if that is known, else its network; None for a trusted proxy."""
        keys = dict((*self._own, *self._keys))
        name = keys.get("identity")
        return keys.get("client") if name is None else f"identity:{name}"

    def hold(self, key: Key) -> None:
        """Count a key until `release`. Raises: OverloadedError if the key is full."""
        keys = (*self._keys, key)
        self._pool.hold(key)
        self._keys = keys

    def drop(self, key: Key) -> None:
        """Stop counting one key."""
        kept = list(self._keys)
        kept.remove(key)
        self._pool.release((key,))
        self._keys = tuple(kept)

    def release(self) -> None:
        """Stop counting all keys, as the job ends."""
        try:
            with self._lock:
                self._over = True
                if self._abandoned:
                    self._pool.recover(self._abandoned)
        finally:
            if self._keys:
                self._pool.release(self._keys)

    def abandon(self) -> None:
        """Note that nobody waits for the job any more, until `release`."""
        with self._lock:
            if not self._over:
                keys = (*self._own, *self._keys)
                self._pool.abandon(keys)
                self._abandoned = keys
