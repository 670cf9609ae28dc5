"""Store: where the records of serving portals are kept."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["Snapshot", "Store", "StoredRecord"]


class StoredRecord(NamedTuple):
    """A record in a store.

    Attributes:
        owner: the process that wrote it.
        token: its fencing token. A later registration has a larger one.
        text: the record as text.
    """

    owner: str
    token: int
    text: str


class Snapshot(NamedTuple):
    """All living records of a store.

    Attributes:
        epoch: changes when the store has lost its records.
        version: changes when a record is added, changed or removed, and not when one is renewed.
        records: in no order.
    """

    epoch: str
    version: int
    records: tuple[StoredRecord, ...]


class Store(Protocol):
    """Keeps records until their leases end, by the clock of the store.

    Every method raises StoreUnavailable if the store does not respond.

    Attributes:
        restricted: whether only those may write who pass the access rules of the store.

    Threads: any.
    """

    @property
    def restricted(self) -> bool: ...

    def register(self, owner: str, text: str, lease: float) -> int:
        """Write a record and return its fencing token, which is larger than all before."""

    def renew(self, owner: str, token: int, text: str, lease: float) -> bool:
        """Extend a lease. Return False if the record is gone or has another token; then nothing is written."""

    def holds(self, owner: str, token: int) -> bool:
        """Return whether a record is there and has this token. Nothing is written."""

    def withdraw(self, owner: str, token: int | None) -> None:
        """Remove a record, unless it has another token. None removes it whatever its token is."""

    def poll(self, epoch: str | None, version: int) -> Snapshot | None:
        """Return all living records, or None if epoch and version are still the present ones."""

    def close(self) -> None:
        """Close connections. May be called twice."""
