"""Source: what a directory is read from, and the source that reads the records of a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from time import monotonic, time
from typing import NamedTuple, Protocol

from .instance import Instance
from .record import ExpiredRecord, Record, RejectedRecord, decode, is_expired
from .rejections import RejectionLog
from .store import Snapshot, Store

__all__ = ["Lookup", "NameTable", "RecordSource", "Source"]

_RETURN = 3.0  # seconds in which portals notice that the store responds again, and renew their records
_READ_AGAIN = 5.0  # seconds until records of which some were rejected are read again
#: Returns the instances of a name. It may have an attribute `names`, all names that it knows.
Lookup = Callable[[str], tuple[Instance, ...]]


class NameTable:
    """The instances of each name: a Lookup.

    Attributes:
        names: all names that it knows.

    Threads: immutable; any.
    """

    def __init__(self, table: Mapping[str, tuple[Instance, ...]]) -> None:
        self._table = table
        self.names = tuple(table)

    def __call__(self, name: str) -> tuple[Instance, ...]:
        """Return the instances of a name; empty for an unknown one."""
        return self._table.get(name, ())


class Source(Protocol):
    """The place from which the instances of names are read.

    Attributes:
        interval: seconds until the next poll.
        trusted: whether all who can write may get the credentials of the caller.
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
    portals register again. So do those whose leases may have ended because the store did not respond, and those whose
    records somebody has overwritten with what is rejected.

    Args:
        store: keeps the records.
        key: the key that signs records; others are left out. None accepts unsigned ones.
        interval: seconds between two polls.
        clock: seconds, as `time.monotonic`.
        now: the time of signatures, as `time.time`.

    Attributes:
        problem: what is wrong with the records, or None. Any thread may read it.
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
        self._log = RejectionLog("a record of the directory is rejected", clock=clock)
        self._epoch: str | None = None
        self._version = 0
        self._records: Mapping[str, _Kept] = {}
        self._read_at = clock()  # when the store responded last
        self._is_out = False  # whether the last poll has failed
        self._outage = 0.0  # seconds of the last outage
        self._returned_at = -inf
        self._read_again_at = inf  # when records that were rejected may have been renewed
        self.rejected = 0
        self.problem: str | None = None

    @property
    def trusted(self) -> bool:
        """Whether records are signed, or the store lets only some write."""
        return self._key is not None or self._store.restricted

    def poll(self) -> Lookup | None:
        """Return the instances by name, or None if they have not changed. Raises: StoreUnavailable.

        The known version changes at the end, so that the next poll reads again after an error.
        """
        again = self._must_read_again()
        try:
            snapshot = self._store.poll(None if again else self._epoch, self._version)
        except BaseException:
            self._is_out = True
            raise
        self._note_response()
        records = self._records if snapshot is None else self._taken(snapshot)
        now = self._clock()
        living = {owner: kept for owner, kept in records.items() if kept.until is None or now < kept.until}
        if snapshot is None and len(living) == len(records):
            return None
        is_same = again and _facts(living) == _facts(self._records)
        lookup = None if is_same else _lookup(living)
        self._records = living
        self.problem = self._problem_of(living)
        if snapshot is not None:
            self._epoch, self._version = snapshot.epoch, snapshot.version
        return lookup

    def _note_response(self) -> None:
        now = self._clock()
        if self._is_out:
            self._is_out, self._outage, self._returned_at = False, now - self._read_at, now
        self._read_at = now

    def _must_read_again(self) -> bool:
        """Return whether unchanged records must be read again, as a store does not report renewals.

        A signed record that is too old is not used forever if somebody without a key keeps it in the store. One that
        was rejected may have been renewed, by a clock that was set right or after somebody else had overwritten it.
        """
        if self._clock() >= self._read_again_at:
            return True
        if self._key is None:
            return False
        now = self._now()
        return any(is_expired(kept.record, now) for kept in self._records.values() if kept.until is None)

    def _taken(self, snapshot: Snapshot) -> Mapping[str, _Kept]:
        # A smaller version of the same epoch is that of a replica that had not received the last changes.
        is_older = snapshot.epoch == self._epoch and snapshot.version < self._version
        has_lost = self._epoch is not None and (is_older or snapshot.epoch != self._epoch)
        outage = self._outage if self._clock() - self._returned_at <= _RETURN else 0.0
        records, rejected, overwritten = dict[str, _Kept](), 0, set[str]()
        for owner, token, text in snapshot.records:
            try:
                records[owner] = _Kept(token, decode(text, owner, self._key, self._now()), None)
            except RejectedRecord as error:
                rejected += 1
                self._log.note(owner, error)
                if not isinstance(error, ExpiredRecord):
                    overwritten.add(owner)
        for owner, kept in self._records.items():
            may_renew = has_lost or outage >= kept.record.lease / 4  # a renewal is due at a third
            may_renew = may_renew or owner in overwritten
            if owner not in records and (may_renew or kept.until is not None):
                until = self._clock() + max(kept.record.lease, _RETURN) if kept.until is None else kept.until
                records[owner] = kept._replace(until=until)
        self.rejected = rejected
        self._read_again_at = self._clock() + _READ_AGAIN if rejected else inf
        return records

    def _problem_of(self, records: Mapping[str, _Kept]) -> str | None:
        lost = sum(kept.until is not None for kept in records.values())
        if lost:
            return f"the store has lost {_records(lost)}, used until the leases end"
        return f"{_records(self.rejected)} rejected" if self.rejected else None

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _records(count: int) -> str:
    return f"{count} record{'s' * (count != 1)}"


def _facts(records: Mapping[str, _Kept]) -> Mapping[str, object]:
    """Return what the instances depend on, which does not include when a record was renewed."""
    return {owner: (kept.token, kept.record.functions) for owner, kept in records.items()}


def _lookup(records: Mapping[str, _Kept]) -> Lookup:
    """Return the instances by name. Of two records with the same address, the later registration counts."""
    table: dict[str, dict[str, Instance]] = {}
    for kept in sorted(records.values(), key=lambda kept: kept.token):
        for served in kept.record.functions:
            table.setdefault(served.name, {})[str(served.instance.address)] = served.instance
    return NameTable({name: tuple(rows[address] for address in sorted(rows)) for name, rows in table.items()})
