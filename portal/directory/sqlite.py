"""SQLiteStore: the records of portals of one host in a file, at `sqlite:///path`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import time

from .._internal.redis_client import StoreUnavailable
from .._internal.settings import file_path
from .store import Snapshot, StoredRecord

__all__ = ["SQLiteStore"]

_BUSY = 2.0  # seconds to wait for another process that writes
#: Primary result codes of a write that the permissions of the file or of its folder forbid.
_FORBIDDEN = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_NO_TABLE = "no such table"
_TABLES = (
    "CREATE TABLE state (epoch TEXT NOT NULL, version INTEGER NOT NULL, token INTEGER NOT NULL)",
    "CREATE TABLE records (owner TEXT PRIMARY KEY, token INTEGER NOT NULL, text TEXT NOT NULL, ends REAL NOT NULL)"
    " WITHOUT ROWID",
)


class SQLiteStore:
    """Keeps records in a file that the processes of one host share. Every process that may write the file may register.

    Each operation opens the file anew, so that a removed or replaced file, and a fork, do no harm.

    Args:
        path: of the file; made if it is not there.
        clock: the time of the host, as `time.time`.

    Raises: ConfigError for a wrong path.

    Threads: any.
    """

    restricted = True

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time) -> None:
        self._path = os.fspath(file_path("directory.path", path))
        self._clock = clock

    @contextmanager
    def _open(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        # Only a writer makes the file. One that a reader made would belong to the reader.
        name = self._path if write else f"{Path(self._path).absolute().as_uri()}?mode=rw"
        try:
            with closing(sqlite3.connect(name, timeout=_BUSY, isolation_level=None, uri=not write)) as database:
                if write:
                    self._begin(database)
                yield database
                if write:
                    database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self._path}: {type(error).__name__}: {error}") from error

    def _begin(self, database: sqlite3.Connection) -> None:
        """Begin a transaction, make the tables if they are not there, and remove the records whose leases ended."""
        database.execute("BEGIN IMMEDIATE")
        if not database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'state'").fetchone()[0]:
            for table in _TABLES:
                database.execute(table)
            database.execute("INSERT INTO state VALUES (?, 0, 0)", (os.urandom(8).hex(),))
        if database.execute("DELETE FROM records WHERE ends <= ?", (self._clock(),)).rowcount:
            database.execute("UPDATE state SET version = version + 1")

    def register(self, owner: str, text: str, lease: float) -> int:
        """See `Store.register`."""
        with self._open(write=True) as database:
            database.execute("UPDATE state SET version = version + 1, token = token + 1")
            token: int = database.execute("SELECT token FROM state").fetchone()[0]
            values = (owner, token, text, self._clock() + lease)
            database.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", values)
        return token

    def renew(self, owner: str, token: int, text: str, lease: float) -> bool:
        """See `Store.renew`."""
        values = (text, self._clock() + lease, owner, token)
        with self._open(write=True) as database:
            query = "UPDATE records SET text = ?, ends = ? WHERE owner = ? AND token = ?"
            return database.execute(query, values).rowcount > 0

    def holds(self, owner: str, token: int) -> bool:
        """See `Store.holds`."""
        try:
            with self._open(write=False) as database:
                query = "SELECT count(*) FROM records WHERE owner = ? AND token = ?"
                return bool(database.execute(query, (owner, token)).fetchone()[0])
        except StoreUnavailable as error:
            if not os.path.exists(self._path) or _NO_TABLE in str(error):  # another file, or none
                return False
            raise

    def withdraw(self, owner: str, token: int | None) -> None:
        """See `Store.withdraw`."""
        query = "DELETE FROM records WHERE owner = ? AND token = ifnull(?, token)"
        with self._open(write=True) as database:
            if database.execute(query, (owner, token)).rowcount:
                database.execute("UPDATE state SET version = version + 1")

    def poll(self, epoch: str | None, version: int) -> Snapshot | None:
        """See `Store.poll`. Nothing is written unless a lease has ended.

        A process that may not write the file leaves out the records whose leases have ended.
        """
        if not os.path.exists(self._path):
            return self._poll_missing(epoch)
        try:
            has_ended, snapshot = self._read(epoch, version)
            if has_ended and self._remove_ended():
                _, snapshot = self._read(epoch, version)
        except StoreUnavailable as error:
            if not os.path.exists(self._path):  # it was removed meanwhile
                return self._poll_missing(epoch)
            if _NO_TABLE not in str(error):
                raise
            return None if epoch == "" else Snapshot("", 0, ())  # nobody has registered yet
        return snapshot

    def _poll_missing(self, epoch: str | None) -> Snapshot | None:
        if not os.path.isdir(os.path.dirname(self._path) or "."):
            raise StoreUnavailable(f"{self._path}: its folder does not exist")
        return None if epoch == "" else Snapshot("", 0, ())

    def _remove_ended(self) -> bool:
        """Remove the records whose leases have ended. Return False if this process may not write the file."""
        try:
            with self._open(write=True):
                return True
        except StoreUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, sqlite3.Error) and cause.sqlite_errorcode & 0xFF in _FORBIDDEN:
                return False
            raise

    def _read(self, epoch: str | None, version: int) -> tuple[bool, Snapshot | None]:
        """Return whether leases have ended, and the living records; None for them if nothing has changed."""
        now = self._clock()
        with self._open(write=False) as database:
            database.execute("BEGIN")
            state = database.execute("SELECT epoch, version FROM state").fetchone()
            query = "SELECT count(*) FROM records WHERE ends <= ?"
            has_ended = database.execute(query, (now,)).fetchone()[0] > 0
            if state == (epoch, version) and not has_ended:
                return False, None
            rows = database.execute("SELECT owner, token, text FROM records WHERE ends > ?", (now,)).fetchall()
            return has_ended, Snapshot(state[0], state[1], tuple(StoredRecord(*row) for row in rows))

    def close(self) -> None:
        """Do nothing: no connection stays open."""
