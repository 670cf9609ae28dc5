"""Source: what a directory is read from, and the source that reads the records of a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic, time
from typing import NamedTuple, Protocol

from .._internal.log import get_logger
from .instance import Instance
from .record import Record, RejectedRecord, decode, is_expired
from .store import Snapshot, Store

__all__ = ["Lookup", "RecordSource", "Source"]

_log = get_logger("portal.directory")
#: Returns the instances of a name.
Lookup = Callable[[str], tuple[Instance, ...]]


class Source(Protocol):
    """Where the instances of names are read from.

    Attributes:
        interval: seconds until the next poll.
        trusted: whether only those can write who may get the credentials of the caller.
        problem: what is wrong with what was read last, or None.

    Threads: one at a time.
    """

    @property
    def interval(self) -> float: ...

    @property
    def trusted(self) -> bool: ...

    @property
    def problem(self) -> str | None: ...

    def poll(self) -> Lookup | None:
        """Return the instances, or None if they have not changed. Raises: an exception if they cannot be read."""

    def close(self) -> None:
        """Close connections. May be called twice."""


class _Kept(NamedTuple):
    token: int
    record: Record
    until: float | None  # end of a record that the store has lost


class RecordSource:
    """Reads the records of a store.

    If the store has lost its records, those that were known stay until their leases would have ended. Meanwhile their
    portals register again.

    Args:
        store: keeps the records.
        key: the key that signs records; others are left out. None accepts unsigned ones.
        interval: seconds between two polls.
        clock: seconds, as `time.monotonic`.
        now: the time of signatures, as `time.time`.

    Attributes:
        rejected: how many records the last poll left out.

    Threads: one at a time.
    """

    def __init__(
        self,
        store: Store,
        key: bytes | None,
        interval: float,
        *,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], float] = time,
    ) -> None:
        self._store = store
        self._key = key
        self.interval = interval
        self._clock, self._now = clock, now
        self._epoch: str | None = None
        self._version = 0
        self._records: dict[str, _Kept] = {}
        self.rejected = 0

    @property
    def trusted(self) -> bool:
        """Whether records are signed, or the store lets only some write."""
        return self._key is not None or self._store.restricted

    @property
    def problem(self) -> str | None:
        """What is wrong with the records, or None."""
        lost = sum(kept.until is not None for kept in self._records.values())
        if lost:
            return f"the store has lost its records; {lost} of them are used until their leases end"
        return f"{self.rejected} records were rejected" if self.rejected else None

    def poll(self) -> Lookup | None:
        """Return the instances by name, or None if they have not changed. Raises: StoreUnavailable."""
        # A store does not report renewals. So signed records are read again when they are too old, and not used forever
        # if somebody who may write the store, but has no key, keeps them there.
        epoch = None if self._key is not None and self._any_expired() else self._epoch
        snapshot = self._store.poll(epoch, self._version)
        if snapshot is not None:
            self._take(snapshot)
        dropped = self._drop_lost()
        return _lookup(self._records) if snapshot is not None or dropped else None

    def _any_expired(self) -> bool:
        now = self._now()
        return any(is_expired(kept.record, now) for kept in self._records.values() if kept.until is None)

    def _take(self, snapshot: Snapshot) -> None:
        known = self._records
        is_new = self._epoch is not None and snapshot.epoch != self._epoch
        self._records, self.rejected = {}, 0
        for owner, token, text in snapshot.records:
            try:
                record = decode(text, owner, self._key, self._now())
            except RejectedRecord as error:
                self.rejected += 1
                _log.warning("a record of the directory is rejected: owner=%.80r: %.500s", owner, error)
                continue
            self._records[owner] = _Kept(token, record, None)
        for owner, kept in known.items():
            if owner not in self._records and (is_new or kept.until is not None):
                until = self._clock() + kept.record.lease if kept.until is None else kept.until
                self._records[owner] = kept._replace(until=until)
        self._epoch, self._version = snapshot.epoch, snapshot.version

    def _drop_lost(self) -> bool:
        now = self._clock()
        ended = [owner for owner, kept in self._records.items() if kept.until is not None and kept.until <= now]
        for owner in ended:
            del self._records[owner]
        return bool(ended)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _lookup(records: Mapping[str, _Kept]) -> Lookup:
    """Return the instances by name. Of two records with the same address, the later registration counts."""
    table: dict[str, dict[str, Instance]] = {}
    for kept in sorted(records.values(), key=lambda kept: kept.token):
        for served in kept.record.functions:
            table.setdefault(served.name, {})[str(served.instance.address)] = served.instance
    found = {name: tuple(rows[address] for address in sorted(rows)) for name, rows in table.items()}
    return lambda name: found.get(name, ())
