from __future__ import annotations

import io
import sys

import click
import pytest

from portal.cli import inputs
from portal.cli.inputs import read_input


def test_text_stdin_and_files(tmp_path, monkeypatch):
    file = tmp_path / "note.txt"
    file.write_text("aé", encoding="utf-8")
    assert read_input("a", "x") == "a"
    assert read_input("@", "x") == "@"
    assert read_input(f"@{file}", "x") == "aé"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from stdin")))
    assert read_input("-", "x") == "from stdin"


def test_what_cannot_be_read_is_rejected(tmp_path, monkeypatch):
    file = tmp_path / "note.txt"
    for path, words in ((tmp_path / "missing", "cannot read"), (tmp_path, "cannot read")):
        with pytest.raises(click.BadParameter, match=words):
            read_input(f"@{path}", "x")
    file.write_bytes(b"\xff")
    with pytest.raises(click.BadParameter, match="UTF-8"):
        read_input(f"@{file}", "x")
    monkeypatch.setattr(inputs, "MAX_INPUT", 3)
    file.write_bytes(b"abcd")
    with pytest.raises(click.BadParameter, match="at most 3 bytes"):
        read_input(f"@{file}", "x")
