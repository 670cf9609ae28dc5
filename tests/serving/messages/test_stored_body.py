from __future__ import annotations

import gc
import io
from pathlib import Path

import pytest

from portal import ProtocolError
from portal.serving.bounds.disk import DiskBudget
from portal.serving.messages.stored_body import BodyStore, StoredBody


def test_a_body_is_counted_until_it_is_dropped() -> None:
    budget = DiskBudget(100)
    body = StoredBody(budget, "a")
    body.write(b"0123")
    body.write(bytearray(b"45"))
    assert (body.size, body.read_at(3, 10), body.read_at(6, 1), budget.used) == (6, b"345", b"", 6)
    del body
    gc.collect()
    assert budget.used == 0


def test_a_client_with_too_much_is_rejected() -> None:
    store = BodyStore(DiskBudget(10))
    body = store.append(None, b"01234", "a")
    with pytest.raises(ProtocolError) as caught:
        store.append(body, b"5", "a")
    assert (caught.value.status, body.size) == (503, 5)
    assert store.append(None, b"01234", "b").size == 5


def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Full(io.FileIO):
        def write(self, data: object) -> int:  # type: ignore[override]
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda buffering: Full(tmp_path / "body", "w+b"))
    budget = DiskBudget(10)
    with pytest.raises(ProtocolError, match="could not be stored") as caught:
        BodyStore(budget).append(None, b"01", "a")
    assert caught.value.status == 503
    del caught
    gc.collect()
    assert budget.used == 0


def test_a_system_without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(buffering: int) -> object:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(ProtocolError, match="could not be stored"):
        BodyStore(DiskBudget(10)).append(None, b"01", "a")
