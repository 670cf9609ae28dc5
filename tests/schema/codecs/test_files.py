from __future__ import annotations

import pickle
from base64 import b64encode
from pathlib import Path
from typing import Annotated, Any

import pytest

from portal import CallContext, ConfigError, Consumer, LocalPortal, ValidationError, WebSocketPortal, function
from portal._internal.content import content_of
from portal.schema import Bytes, File, MaxLen, MinLen, Schema
from portal.schema.codecs.files import FileTable, current_table, files_of_call


def test_bytes_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"0123456789")
    file = File(path)
    assert (file.name, file.type, file.size, file.read()) == ("photo.png", "image/png", 10, b"0123456789")
    assert list(file.chunks(4, start=1, stop=8)) == [b"1234", b"567"]
    file.save(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read()
    assert file == File(b"0123456789", name="photo.png")
    assert file != File(b"012345678_", name="photo.png")
    assert pickle.loads(pickle.dumps(file)) == file
    assert (File(b"").type, File(b"").name) == ("application/octet-stream", None)
    assert "10 bytes" in repr(file)
    path.write_bytes(b"0")  # a file that is cut is not silently shorter
    with pytest.raises(OSError, match="before"):
        file.read()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\a.txt", "a.txt"),
        ("..", "file"),
        ("a\r\nb", "ab"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_name_has_no_folders(name: str, kept: str) -> None:
    assert File(b"", name=name).name == kept


@pytest.mark.parametrize("media", ["png", "image/png\r\nX: 1", "", "a/b/c"])
def test_wrong_types_are_rejected(media: str) -> None:
    with pytest.raises(ConfigError):
        File(b"", type=media or "/")


def test_a_part_of_some_content() -> None:
    file = File.of_content(content_of(b"0123456789"), 2, 5, name="a", type=None)
    assert (file.size, file.read(), list(file.chunks(start=4))) == (5, b"23456", [b"6"])


def swap(photo: File, note: Bytes = b"") -> File:
    return File(photo.read()[::-1] + note, name=photo.name, type=photo.type)


def turn(data: Annotated[Bytes, MinLen(1), MaxLen(4)]) -> Bytes:
    return data[::-1]


@pytest.mark.parametrize("kind", [LocalPortal, WebSocketPortal])
def test_elsewhere_a_file_is_base64(kind: type[Any]) -> None:
    with kind() as portal, Consumer() as consumer:
        at, at_turn = portal.apply(swap), portal.apply(turn)
        data = {"data": b64encode(b"ab").decode(), "name": "a.png", "type": "image/png"}
        assert consumer.call_at(at, {"photo": data}) == data | {"data": b64encode(b"ba").decode()}
        assert consumer.resolve(at, returns=File)(photo=File(b"ab", name="a.png")) == File(b"ba", name="a.png")
        assert consumer.call_at(at, {"photo": data}, returns=File) == File(b"ba", name="a.png")
        assert consumer.call_at(at_turn, {"data": b64encode(b"ab").decode()}) == b64encode(b"ba").decode()
        assert consumer.call_at(at_turn, {"data": b64encode(b"ab").decode()}, returns=Bytes) == b"ba"
        with pytest.raises(ValidationError):
            consumer.call_at(at_turn, {"data": b64encode(b"abcde").decode()})
        with pytest.raises(ValidationError):
            consumer.call_at(at, {"photo": {"data": "***"}})


def test_tokens_are_those_of_one_call() -> None:
    schema = Schema.of(File)
    file = File(b"ab")
    assert schema.dump(file)["data"] == "YWI="
    with files_of_call(FileTable()) as table:
        assert current_table() is table
        data = schema.dump(file)
        assert table.file_in(data) is schema.load(data) is file
        assert table.file_in({"data": "YWI="}) is None
        assert table.file_in(3) is None
    with files_of_call(FileTable(CallContext())):
        assert schema.dump(file)["data"] == "YWI="  # of another call, such as a nested one
    assert current_table() is None


def test_the_schema_names_files() -> None:
    transfer = function(swap).schema.transfer
    assert transfer is not None
    assert (transfer.files, transfer.result) == ((("photo", "file"), ("note", "bytes")), "file")
