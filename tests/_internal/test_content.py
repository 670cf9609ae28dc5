from __future__ import annotations

import gc
import io
import warnings
from pathlib import Path

import pytest

from portal._internal.content import OpenFile, content_of, spooled


@pytest.mark.parametrize("size", [0, 10, 1024 * 1024, 1024 * 1024 + 1])
def test_spooled_content(size: int) -> None:
    data = bytes(size)
    content = spooled(iter([data[:5], data[5:]]))
    assert (content.size, content.read_at(0, size + 1)) == (size, data)
    assert isinstance(content, OpenFile) == (size > 1024 * 1024)


def test_content_in_memory() -> None:
    content = content_of(b"0123")
    assert (content.size, content.read_at(1, 2), content.read_at(4, 2)) == (4, b"12", b"")


def test_a_file_that_takes_a_part_of_the_data_gets_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Reluctant(io.FileIO):
        def write(self, data: object) -> int:  # type: ignore[override]
            return super().write(memoryview(data)[:1_000_000])  # type: ignore[arg-type]

    monkeypatch.setattr("tempfile.TemporaryFile", lambda buffering: Reluctant(tmp_path / "content", "w+b"))
    data = bytes(range(256)) * 8192
    content = spooled(iter([data]))
    assert content.read_at(0, len(data) + 1) == data


def test_a_failed_source_leaves_no_open_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = (tmp_path / "content").open("w+b", buffering=0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda buffering: file)

    def pieces() -> object:
        yield bytes(1024 * 1024 + 1)
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        spooled(pieces())  # type: ignore[arg-type]
    assert file.closed


def test_a_file_in_a_reference_cycle_is_closed_without_a_warning() -> None:
    class Holder:
        def __init__(self) -> None:
            self.itself = self
            self.content = spooled(iter([bytes(1024 * 1024 + 1)]))

    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(10):
                Holder()
            gc.collect()
    finally:
        gc.enable()
