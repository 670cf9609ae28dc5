"""`portal call --output`: where the content of a file goes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import HTTPPortal, WebSocketPortal
from portal.schema import Bytes, File
from tests.support.command import ROOT, TIMEOUT, run

CONTENT = bytes(range(256)) * 8000  # more than is kept in memory
runs: list[str] = []


def report() -> File:
    runs.append("report")
    return File(CONTENT, name="../../etc/report.pdf")


def thumbnail(empty: bool = False) -> Bytes | None:
    return None if empty else b"\xff\xd8"


def number() -> int:
    runs.append("number")
    return 1


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with HTTPPortal() as portal:
        for one in (report, thumbnail, number):
            portal.apply(one)
        yield str(portal.base)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.clear()
    monkeypatch.chdir(tmp_path)


def at_a_terminal(*arguments: str) -> tuple[int, str]:
    """Run the command with a terminal as stdout and stderr. Return its exit code and what it prints."""
    ours, its = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "portal", *arguments]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        printed = b""
        try:
            while piece := os.read(ours, 4096):
                printed += piece
        except OSError:  # Linux says EIO when the other side is closed
            pass
        os.close(ours)
        return process.wait(TIMEOUT), printed.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("option", ["--output", "-o"])
def test_the_content_goes_to_the_file_and_nowhere_else(base: str, tmp_path: Path, option: str) -> None:
    result = run("call", f"{base}/report", option, "here.pdf")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "here.pdf").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["here.pdf"]
    result = run("call", f"{base}/thumbnail", option, "here.pdf", "--json")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "here.pdf").read_bytes() == b"\xff\xd8"


def test_a_pipe_gets_the_content(base: str, tmp_path: Path) -> None:
    for arguments in ((), ("--output", "-")):
        result = run("call", f"{base}/report", *arguments)
        assert (result.exit_code, result.stdout_bytes == CONTENT) == (0, True)
    assert os.listdir(tmp_path) == []


def test_json_has_base64(base: str) -> None:
    found = json.loads(run("call", f"{base}/report", "--json").stdout)
    assert (found["name"], found["type"], len(found["data"])) == ("report.pdf", "application/pdf", 2_730_668)
    assert json.loads(run("call", f"{base}/thumbnail", "--json").stdout) == b64encode(b"\xff\xd8").decode()


def test_a_result_without_a_file_is_null(base: str, tmp_path: Path) -> None:
    result = run("call", f"{base}/thumbnail", "empty=true", "-o", "here")
    assert (result.exit_code, result.stdout) == (0, "null\n")
    assert os.listdir(tmp_path) == []


def test_a_file_comes_over_websocket_too(tmp_path: Path) -> None:
    with WebSocketPortal() as portal:
        assert run("call", str(portal.apply(report)), "-o", "here").exit_code == 0
    assert (tmp_path / "here").read_bytes() == CONTENT


def test_a_terminal_shows_what_the_file_is(base: str, tmp_path: Path) -> None:
    described = "report.pdf, application/pdf, 2048000 bytes; use --output FILE\n"
    assert at_a_terminal("call", f"{base}/report") == (0, described)
    assert at_a_terminal("call", f"{base}/thumbnail") == (0, "2 bytes; use --output FILE\n")
    code, printed = at_a_terminal("call", f"{base}/report", "--output", "-")
    assert (code, "a file is not written to a terminal" in printed) == (2, True)
    assert runs == ["report"], "the function is not called if its result cannot be written"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("number", "here", "number does not return a file; leave it out"),
        ("report", "missing/here", "the directory missing does not exist"),
        ("report", ".", ". is a directory; name the file in it"),
        ("report", "new/", "new/ is a directory; name the file in it"),
    ],
)
def test_an_output_that_cannot_be_written_is_rejected_before_the_call(
    base: str, name: str, path: str, message: str
) -> None:
    result = run("call", f"{base}/{name}", "--output", path)
    assert (result.exit_code, runs) == (2, [])
    assert message in result.stderr


def test_a_full_disk_is_an_error_after_the_call(base: str) -> None:
    result = run("call", f"{base}/report", "--output", "/dev/full")
    assert result.exit_code == 1
    assert result.stderr == "error: the function was called, but /dev/full cannot be written: No space left on device\n"


def test_an_error_leaves_the_file_as_it_was(base: str, tmp_path: Path) -> None:
    kept = tmp_path / "here.pdf"
    kept.write_text("kept")
    assert run("call", f"{base}/report", "wrong=1", "-o", "here.pdf").exit_code != 0
    assert kept.read_text() == "kept"
