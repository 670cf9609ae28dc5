"""MemoryStore: the records of portals in this process, at `memory://NAME`."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from .._internal.at_fork import new_lock
from .store import Snapshot, StoredRecord

__all__ = ["MemoryStore", "memory_store"]


class MemoryStore:
    """Keeps records in this process.

    Args:
        clock: seconds, as `time.monotonic`.

    Threads: any. Fork: a child has the records of its parent, which end with their leases.
    """

    restricted = True

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = new_lock()  # guards the attributes below
        self._epoch = os.urandom(8).hex()
        self._version = 0
        self._token = 0
        self._records: dict[str, tuple[StoredRecord, float]] = {}

    def register(self, owner: str, text: str, lease: float) -> int:
        """See `Store.register`."""
        with self._lock:
            self._token += 1
            self._version += 1
            self._records[owner] = (StoredRecord(owner, self._token, text), self._clock() + lease)
            return self._token

    def renew(self, owner: str, token: int, text: str, lease: float) -> bool:
        """See `Store.renew`."""
        with self._lock:
            self._expire()
            found = self._records.get(owner)
            if found is None or found[0].token != token:
                return False
            self._records[owner] = (StoredRecord(owner, token, text), self._clock() + lease)
            return True

    def holds(self, owner: str, token: int) -> bool:
        """See `Store.holds`."""
        with self._lock:
            found = self._records.get(owner)
            return found is not None and found[0].token == token

    def withdraw(self, owner: str, token: int | None) -> None:
        """See `Store.withdraw`."""
        with self._lock:
            found = self._records.get(owner)
            if found is not None and token in (None, found[0].token):
                del self._records[owner]
                self._version += 1

    def poll(self, epoch: str | None, version: int) -> Snapshot | None:
        """See `Store.poll`."""
        with self._lock:
            self._expire()
            if epoch == self._epoch and version == self._version:
                return None
            return Snapshot(self._epoch, self._version, tuple(record for record, _ in self._records.values()))

    def _expire(self) -> None:
        now = self._clock()
        for owner in [owner for owner, (_, end) in self._records.items() if end <= now]:
            del self._records[owner]
            self._version += 1

    def close(self) -> None:
        """Do nothing: the records belong to the process."""


_lock = new_lock()  # guards the table below
_named: dict[str, MemoryStore] = {}


def memory_store(name: str) -> MemoryStore:
    """Return the store of this process with a name, the same one each time."""
    with _lock:
        return _named.setdefault(name, MemoryStore())
