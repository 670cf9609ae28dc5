"""FileSource: a list that something else writes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from portal.directory import Instance, open_directory
from portal.directory import file as file_module
from portal.directory.file import FileSource
from tests.support.raising import raising_once


def write(path: Path, data: Any) -> None:
    new = path.with_suffix(".new")
    new.write_text(data if isinstance(data, str) else json.dumps(data))
    os.replace(new, path)


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "portals.json"
    write(path, {"add": ["http://a:1/api/add", {"address": "http://b:1/api/add", "weight": 2, "zone": "z"}]})
    source = FileSource(path, 0.5)
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (Instance("http://a:1/api/add"), Instance("http://b:1/api/add", 2, zone="z"))
    assert lookup("other") == ()
    assert source.poll() is None
    write(path, {})
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == ()


def test_names_with_a_star(tmp_path: Path) -> None:
    path = tmp_path / "portals.json"
    write(
        path,
        {
            "billing/charge": ["http://exact/api/charge"],
            "billing/*": ["http://billing/api/billing"],
            "*": ["http://all/api"],
        },
    )
    lookup = FileSource(path, 0.5).poll()
    assert lookup is not None
    for name, address in (
        ("billing/charge", "http://exact/api/charge"),
        ("billing/refund", "http://billing/api/billing/refund"),
        ("add", "http://all/api/add"),
        ("a/b", "http://all/api/a/b"),
    ):
        assert [str(one) for one in lookup(name)] == [address]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"add": "http://a"}', '{"add": [1]}', '{"add": [{}]}', '{"add": ["nowhere"]}']
)
def test_a_broken_file_leaves_the_last_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "portals.json"
    write(path, {"add": ["http://a:1/api/add"]})
    directory = open_directory(f"file://{path}", interval=3600)
    assert len(directory.instances("add")) == 1
    write(path, text)
    directory.poll()
    assert len(directory.instances("add")) == 1
    assert directory.problem is not None
    path.unlink()
    directory.poll()
    assert len(directory.instances("add")) == 1
    write(path, {"add": []})
    directory.poll()
    assert directory.instances("add") == ()
    assert directory.problem is None
    assert directory.trusted
    directory.close()


def test_a_change_that_leaves_no_trace_in_the_times_is_seen(tmp_path: Path) -> None:
    """Two changes in place, of the same size and within one tick of the file system's clock."""
    path = tmp_path / "portals.json"
    path.write_text('{"add": ["http://a/api/add"]}')
    os.utime(path, (1000.0, 1000.0))
    now = 1000.5
    source = FileSource(path, 0.5, now=lambda: now)
    assert source.poll() is not None
    assert source.poll() is None
    path.write_text('{"add": ["http://b/api/add"]}')
    os.utime(path, (1000.0, 1000.0))
    lookup = source.poll()
    assert lookup is not None
    assert lookup("add") == (Instance("http://b/api/add"),)
    now = 1010.0
    assert source.poll() is None
    assert source._seen is not None


def test_a_list_that_cannot_be_made_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.json"
    path.write_text('{"add": ["http://a/add"]}')
    os.utime(path, (1.0, 1.0))
    source = FileSource(path, 1.0)
    raising_once(monkeypatch, file_module, "_FileTable", MemoryError())
    with pytest.raises(MemoryError):
        source.poll()
    lookup = source.poll()
    assert lookup is not None
    assert len(lookup("add")) == 1
    assert source.poll() is None
