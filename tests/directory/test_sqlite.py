"""SQLiteStore: a file that processes share."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from portal._internal.redis_client import StoreUnavailable
from portal.directory.sqlite import SQLiteStore
from tests.support.clocks import Clock


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


def test_a_file_that_is_removed_during_a_poll_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "portals.sqlite"
    seen = iter([True, False])
    monkeypatch.setattr("os.path.exists", lambda _: next(seen))
    found = SQLiteStore(path).poll("epoch", 1)
    assert found is not None
    assert found.records == ()
    assert not list(tmp_path.iterdir())


def test_leases_that_end_during_a_poll(tmp_path: Path) -> None:
    """Each look at the clock is later than the one before, as on a slow machine."""
    moments = count(1000.0, 0.6)
    store = SQLiteStore(tmp_path / "portals.sqlite", lambda: next(moments))
    for owner, lease in (("a", 0.1), ("b", 4.0), ("c", 1000.0)):
        store.register(owner, "text", lease)
    for _ in range(10):
        found = store.poll(None, 0)
        assert found is not None
        assert "a" not in {record.owner for record in found.records}
    assert {record.owner for record in found.records} == {"c"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs users of Unix")
def test_a_reader_that_may_not_write_leaves_out_ended_records() -> None:
    program = (
        "import os, sys\n"
        "from portal.directory.sqlite import SQLiteStore\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "store = SQLiteStore(sys.argv[1])\n"
        "store._clock = lambda: 1010.0\n"
        "found = store.poll(None, 0)\n"
        "print(sorted(record.owner for record in found.records))\n"
        "print(store.poll(found.epoch, found.version) is not None)\n"
        "try: store.register('x', 'text', 1.0)\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    folder = Path(tempfile.mkdtemp())
    path = folder / "portals.sqlite"
    try:
        store = SQLiteStore(path, lambda: 1000.0)
        store.register("dead", "text", 5.0)
        store.register("alive", "text", 50.0)
        path.chmod(0o444)
        folder.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=120, check=True
        )
        assert done.stdout.splitlines() == ["['alive']", "True", "StoreUnavailable"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_that_another_process_holds_is_unavailable_and_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was frozen while it wrote keeps all others from renewing; so no lease may count as ended."""
    monkeypatch.setattr("portal.directory.sqlite._BUSY", 0.01)
    clock = Clock()
    path = tmp_path / "portals.sqlite"
    store = SQLiteStore(path, clock)
    store.register("a", "text", 5.0)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    clock.now += 10.0
    with pytest.raises(StoreUnavailable, match="locked"):
        store.poll(None, 0)
    holder.execute("ROLLBACK")
    holder.close()
    found = store.poll(None, 0)
    assert found is not None
    assert found.records == ()
