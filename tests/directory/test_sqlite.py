"""SQLiteStore: a file that processes share."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from portal._internal.redis_client import StoreUnavailable
from portal.directory.sqlite import SQLiteStore


def test_processes_share_the_file(tmp_path: Path) -> None:
    path = tmp_path / "portals.sqlite"
    program = (
        "import sys; from portal.directory.sqlite import SQLiteStore\n"
        "print(SQLiteStore(sys.argv[1]).register('child', 'text', 60.0))"
    )
    first = SQLiteStore(path).register("parent", "text", 60.0)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) > first
    snapshot = SQLiteStore(path).poll(None, 0)
    assert snapshot is not None
    assert {record.owner for record in snapshot.records} == {"parent", "child"}


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "portals.sqlite"
    store = SQLiteStore(path)
    empty = store.poll(None, 0)
    assert empty is not None
    assert empty.records == ()
    assert store.poll(empty.epoch, empty.version) is None
    assert not path.exists()
    store.register("a", "one", 60.0)
    assert store.poll(empty.epoch, empty.version) is not None


def test_a_file_without_tables_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "portals.sqlite"
    sqlite3.connect(path).close()
    path.touch()
    found = SQLiteStore(path).poll(None, 0)
    assert found is not None
    assert found.records == ()
    assert SQLiteStore(path).poll(found.epoch, found.version) is None


def test_a_removed_file_begins_a_new_epoch(tmp_path: Path) -> None:
    path = tmp_path / "portals.sqlite"
    store = SQLiteStore(path)
    token = store.register("a", "one", 60.0)
    first = store.poll(None, 0)
    path.unlink()
    assert not store.renew("a", token, "one", 60.0)
    store.register("a", "one", 60.0)
    second = store.poll(None, 0)
    assert first is not None
    assert second is not None
    assert first.epoch != second.epoch


def test_a_file_of_another_kind_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "portals.sqlite"
    path.write_text("this is not a database, but long enough to look like one " * 20)
    with pytest.raises(StoreUnavailable):
        SQLiteStore(path).register("a", "one", 60.0)
    with pytest.raises(StoreUnavailable):
        SQLiteStore(tmp_path / "missing" / "x.sqlite").register("a", "one", 60.0)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "x.sqlite"
    with pytest.raises(StoreUnavailable, match=rf"{path}: its folder does not exist"):
        SQLiteStore(path).poll(None, 0)
    with pytest.raises(StoreUnavailable, match=rf"{path}: OperationalError"):
        SQLiteStore(path).register("a", "one", 60.0)


def test_threads_register_at_once_in_a_new_file(tmp_path: Path) -> None:
    for attempt in range(20):
        store = SQLiteStore(tmp_path / f"portals{attempt}.sqlite")
        start = threading.Barrier(8)

        def register(number: int, store: SQLiteStore = store, start: threading.Barrier = start) -> int:
            start.wait(60.0)
            return store.register(f"o{number}", "t", 60.0)

        with ThreadPoolExecutor(8) as workers:
            assert sorted(workers.map(register, range(8))) == list(range(1, 9))
