"""FileSource: a list of instances that something else writes, at `file:///path.json`.

    {"billing/charge": ["http://10.0.0.7:8080/api/billing/charge", {"address": "http://...", "weight": 2, "zone": "a"}],
     "billing/*": ["http://10.0.0.7:8080/api/billing"]}

A name that ends in `/*` stands for all functions below it: the rest of the name is added to the address. `*` alone
stands for all functions. The exact name goes before `/*`, and the longest of several before the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from time import time
from typing import Any

from .._internal.settings import file_path
from .instance import Instance
from .record import instance_of
from .source import Lookup, NameTable

__all__ = ["FileSource", "lookup_in"]

_Table = Mapping[str, tuple[Instance, ...]]
_TICK = 3.0  # seconds, at least those between two times that a file system tells apart


class FileSource:
    """Reads a JSON file again whenever it changes.

    Replace the file by renaming another one to it, so that no half of it is read.

    Args:
        path: of the file.
        interval: seconds between two looks at it.
        now: the time of the file system, as `time.time`.

    Raises: ConfigError for a wrong path.

    Threads: one at a time.
    """

    trusted = True
    problem = None

    def __init__(self, path: str | os.PathLike[str], interval: float, *, now: Callable[[], float] = time) -> None:
        self._path = os.fspath(file_path("directory.path", path))
        self.interval = interval
        self._now = now
        self._seen: tuple[int, int, int] | None = None
        self._table: _Table | None = None

    def poll(self) -> Lookup | None:
        """Return the instances, or None if the file is unchanged.

        Raises: OSError; ValueError for a file that is not such a list.
        """
        facts = os.stat(self._path)
        state = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if state == self._seen:
            return None
        with open(self._path, encoding="utf-8") as file:
            table = _table_of(json.load(file))
        # A second change within one tick of the file system's clock leaves no trace. So a fresh file is read again.
        is_fresh = abs(self._now() - facts.st_mtime) < _TICK
        lookup = None if table == self._table else _FileTable(table)
        # At the end, so that the next poll reads again what an error has interrupted.
        self._seen, self._table = None if is_fresh else state, table
        return lookup

    def close(self) -> None:
        """Do nothing: the file is not kept open."""


class _FileTable(NameTable):
    """The names of a file, of which some stand for others."""

    def __init__(self, table: _Table) -> None:
        super().__init__(table)
        self.names = tuple(name for name in table if not name.endswith("*"))

    def __call__(self, name: str) -> tuple[Instance, ...]:
        return lookup_in(self._table, name)


def _table_of(data: Any) -> _Table:
    if not isinstance(data, dict) or not all(isinstance(rows, list) for rows in data.values()):
        raise ValueError("the file must contain a JSON object that maps each name to a list of instances")
    return {name: tuple(_instance_of(row) for row in rows) for name, rows in data.items()}


def _instance_of(row: Any) -> Instance:
    if isinstance(row, str):
        return Instance(row)
    if isinstance(row, dict) and "address" in row:
        return instance_of(row)
    raise ValueError(f"an instance must be an address or an object with an address, got {row!r:.80}")


def lookup_in(table: _Table, name: str) -> tuple[Instance, ...]:
    """Return the instances of a name: its own ones, else those of the longest name with `/*`."""
    if name in table:
        return table[name]
    parts = name.split("/")
    for length in range(len(parts) - 1, -1, -1):
        found = table.get("/".join([*parts[:length], "*"]))
        if found is not None:
            return tuple(below(one, parts[length:]) for one in found)
    return ()


def below(instance: Instance, segments: list[str]) -> Instance:
    """Return the instance of what is published below the address of another one."""
    return Instance(instance.address.child(*segments), instance.weight, zone=instance.zone, version=instance.version)
