from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from portal import ConfigError, SerializationError
from portal.testing.recording_file import params_key, read_recording, recording_path, write_recording

SCHEMA = {"name": "f", "input": {"type": "object"}, "output": {}}
CALL = {"address": "test://f", "params": {"b": 1, "a": 2}, "result": 3, "duration": 0.5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.json"


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}'])
def test_a_file_that_is_not_a_recording_is_rejected(text: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(SerializationError, match="is not a recording"):
        read_recording(path)


@pytest.mark.parametrize(
    "data",
    [
        {"version": 1},
        {"version": 1, "functions": {}, "calls": {}},
        {"version": 1, "functions": [], "calls": []},
        {"version": 1, "functions": {}, "calls": ["x"]},
        {"version": 1, "functions": {}, "calls": [{"address": "test://f", "params": {}, "result": 1}]},
        {"version": 1, "functions": {"test://f": SCHEMA}, "calls": [{"address": "test://f", "result": 1}]},
        {"version": 1, "functions": {"test://f": SCHEMA}, "calls": [{"address": "test://f", "params": {}}]},
        {"version": 1, "functions": {"test://f": SCHEMA}, "calls": [{"address": "test://f", "params": {}, "error": 1}]},
        {"version": 1, "functions": {"test://f": SCHEMA}, "calls": [{"address": "test://f", "params": {}, "items": 1}]},
        {"version": 1, "functions": {"test://f": {}}, "calls": []},
    ],
)
def test_an_incomplete_recording_is_rejected(data: Any, path: Path) -> None:
    path.write_text(json.dumps(data))
    with pytest.raises(SerializationError):
        read_recording(path)


def test_a_written_recording_is_read(path: Path) -> None:
    other = CALL | {"params": {"a": 1}}
    write_recording(path, {"test://f": SCHEMA}, [CALL, other])
    functions, calls = read_recording(path)
    assert {address: schema.name for address, schema in functions.items()} == {"test://f": "f"}
    assert calls == [other, CALL]


@pytest.mark.parametrize("earlier", [None, 0o644])
def test_only_the_owner_may_read_the_file(earlier: int | None, path: Path) -> None:
    if earlier is not None:
        path.touch()
        path.chmod(earlier)
    write_recording(path, {"test://f": SCHEMA}, [CALL])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_only_the_owner_may_read_the_file_before_its_first_byte(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created = []
    real_open = os.open

    def open_and_look(name: Any, *arguments: Any) -> int:
        file = real_open(name, *arguments)
        status = os.fstat(file)
        created.append((stat.S_IMODE(status.st_mode), status.st_size))
        return file

    monkeypatch.setattr(os, "open", open_and_look)
    umask = os.umask(0)
    try:
        write_recording(path, {"test://f": SCHEMA}, [CALL])
    finally:
        os.umask(umask)
    assert created == [(0o600, 0)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("result", [{1, 2}, float("nan"), object()])
def test_a_result_that_is_not_json_leaves_the_file_unchanged(result: Any, path: Path) -> None:
    path.write_text("earlier")
    with pytest.raises(SerializationError, match=r"a result recorded for calls\.json is not JSON data"):
        write_recording(path, {}, [CALL | {"result": result}])
    assert path.read_text() == "earlier"


def test_a_file_that_cannot_be_replaced_leaves_no_part_of_it(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match=str(path)):
        write_recording(path, {}, [])
    assert list(path.parent.iterdir()) == [path]


def test_the_path_must_be_a_path() -> None:
    with pytest.raises(ConfigError, match=r"recording\.path must be"):
        recording_path(7)  # type: ignore[arg-type]


def test_the_order_of_parameters_makes_no_difference() -> None:
    assert params_key({"a": 1, "b": [{"c": 1, "d": 2}]}) == params_key({"b": [{"d": 2, "c": 1}], "a": 1})
    assert params_key({"a": [1, 2]}) != params_key({"a": [2, 1]})
