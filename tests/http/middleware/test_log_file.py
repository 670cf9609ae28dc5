"""A file that lines are appended to, on full disks, in pipes, and while others remove it."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from portal import HTTPPortal
from portal.errors import ConfigError
from portal.http import RequestLog
from portal.http.middleware import log_file
from portal.http.middleware.log_file import LogFile

WAIT = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


class FullDisk:
    """Lets `os.write` of the log write the first bytes only, then nothing, until `freed`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr(log_file.os, "write", self)

    def __call__(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._write(fd, data[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("room", [1, 5, 9])
def test_a_part_of_a_line_is_not_continued_by_the_next_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    target = LogFile(path)
    target("first")
    disk = FullDisk(monkeypatch, room)
    with pytest.raises(OSError, match="part"):
        target("the second")
    with pytest.raises(OSError, match="No space"):
        target("third")
    disk.room = 1000
    target("fourth")
    target("fifth")
    assert path.read_text().splitlines() == ["first", "the second"[:room], "fourth", "fifth"]


def test_a_part_that_leaves_room_for_a_line_end_gets_it_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that appends to the file does not know of the part."""
    target = LogFile(path)
    write = os.write
    monkeypatch.setattr(log_file.os, "write", lambda fd, data: write(fd, data[:3]))
    with pytest.raises(OSError, match="part"):
        target("the second")
    assert path.read_text() == "the\n"


def test_a_line_end_that_does_not_fit_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = LogFile(path)
    disk = FullDisk(monkeypatch, 3)
    for line in ("one line", "two lines", "three lines"):
        with pytest.raises(OSError):
            target(line)
        disk.room = 1 if line == "two lines" else 0
    disk.room = 100
    target("four")
    assert path.read_text().split() == ["one", "four"]


@pytest.mark.parametrize(("before", "expected"), [("", "1\n"), ("whole\n", "whole\n1\n"), ('{"a', '{"a\n1\n')])
def test_a_part_that_a_killed_process_left_becomes_a_line(path: Path, before: str, expected: str) -> None:
    path.write_text(before)
    LogFile(path)("1")
    assert path.read_text() == expected


def test_no_thread_writes_between_a_part_and_its_line_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, write = LogFile(path), os.write
    target("first")
    part_written, other_wrote = threading.Event(), threading.Event()

    def write_slowly(fd: int, data: bytes) -> int:
        if data.startswith(b"the second"):
            taken = write(fd, data[:3])
            part_written.set()
            other_wrote.wait(0.2)  # it does not come: the other thread waits for this one
            return taken
        return write(fd, data)

    def write_other() -> None:
        part_written.wait(WAIT)
        target("other")
        other_wrote.set()

    monkeypatch.setattr(log_file.os, "write", write_slowly)
    thread = threading.Thread(target=write_other)
    thread.start()
    with pytest.raises(OSError, match="part"):
        target("the second")
    thread.join(WAIT)
    assert path.read_text().splitlines() == ["first", "the", "other"]


def test_many_threads_after_a_full_disk_write_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = LogFile(path)
    disk = FullDisk(monkeypatch, 3)
    with pytest.raises(OSError):
        target("a part")
    disk.room = 10**9

    def work(name: int) -> None:
        for number in range(200):
            target(f"{name} {number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    first, *rest = path.read_text().splitlines()
    assert first == "a p"
    assert sorted(rest) == sorted(f"{name} {number}" for name in range(4) for number in range(200))


# pipes


@pytest.fixture
def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def in_time(work: Callable[[], Any]) -> Any:
    """Return the result of `work`, which must not hang."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(WAIT)
    assert found, "it hangs"
    return found[0]


def test_a_fifo_without_a_reader_hangs_nothing(fifo: Path) -> None:
    target = in_time(lambda: LogFile(fifo))

    def fail() -> int | None:
        try:
            target("lost")
        except OSError as error:
            return error.errno
        return None

    assert in_time(fail) == errno.ENXIO
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        target("read")
        assert reader.read() == b"read\n"
    with pytest.raises(BrokenPipeError):
        target("the reader has gone")
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        target("another reader")
        assert reader.read() == b"another reader\n"


def test_a_reader_that_has_stopped_gets_whole_lines_when_it_goes_on(fifo: Path) -> None:
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
        target, written = LogFile(fifo), []

        def fill() -> int | None:
            for number in range(100_000):
                line = f"{number} " + "x" * (number % 700)
                try:
                    target(line)
                except OSError as error:
                    return error.errno
                written.append(line)
            return None

        assert in_time(fill) == errno.EAGAIN
        with pytest.raises(BlockingIOError):
            target("z" * 4000)  # fails at once
        data = b""
        while piece := reader.read(1 << 20):
            data += piece
        assert data.decode().splitlines() == written


def test_a_line_longer_than_a_pipe_writes_at_once_is_not_continued_by_another(fifo: Path) -> None:
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
        target = LogFile(fifo)
        long = "y" * 200_000  # more than the pipe holds

        def fill() -> None:
            target(long)
            with pytest.raises(BlockingIOError):
                target("lost, as the rest of the long line waits")

        in_time(lambda: fill() or True)
        data, rest = reader.read(1 << 20), False
        while not rest:
            target._file._pipe._stalled_until = 0.0  # type: ignore[union-attr]
            try:
                target("after it")
                rest = True
            except BlockingIOError:
                data += reader.read(1 << 20) or b""
        data += reader.read(1 << 20)
        assert data.decode().splitlines() == [long, "after it"]


def test_more_lines_than_a_pipe_holds_reach_a_reader_that_reads(fifo: Path) -> None:
    received: list[bytes] = []

    def read() -> None:
        with open(fifo, "rb") as reader:
            opened.set()
            received.append(reader.read())

    opened = threading.Event()
    thread = threading.Thread(target=read)
    thread.start()
    keep = os.open(fifo, os.O_WRONLY)  # waits for the reader
    target = LogFile(fifo)
    lines = [f"{number} " + "z" * 300 for number in range(1000)]
    target("\n".join(lines))
    target.close()
    os.close(keep)
    thread.join(WAIT)
    assert received[0].decode().splitlines() == lines


def test_requests_are_served_while_the_reader_of_the_log_has_stopped(fifo: Path) -> None:
    def add(a: float, b: float) -> float:
        return a + b

    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        pass
    try:
        with HTTPPortal(http_middleware=[RequestLog(fifo)]) as portal, requests.Session() as session:
            address = str(portal.apply(add))
            for _ in range(20):
                assert session.post(address, json={"a": 1, "b": 2}, timeout=WAIT).json() == 3.0
    finally:
        os.close(writer)
        os.close(reader)


# files that others move and remove


@pytest.mark.parametrize("nested", ["", "deeper", "deeper/still"])
def test_a_directory_that_was_removed_is_made_again(tmp_path: Path, nested: str) -> None:
    now = [0.0]
    folder = tmp_path / "logs" / nested
    folder.mkdir(parents=True)
    target = LogFile(folder / "log", lambda: now[0])
    target("before")
    shutil.rmtree(tmp_path / "logs")
    now[0] = 1.0
    target("after")
    assert (folder / "log").read_text() == "after\n"


def test_a_directory_that_was_renamed_is_made_again(tmp_path: Path) -> None:
    now = [0.0]
    (tmp_path / "logs").mkdir()
    target = LogFile(tmp_path / "logs" / "log", lambda: now[0])
    target("1")
    (tmp_path / "logs").rename(tmp_path / "logs.old")
    now[0] = 1.0
    target("2")
    assert (tmp_path / "logs.old" / "log").read_text() == "1\n"
    assert (tmp_path / "logs" / "log").read_text() == "2\n"


def test_a_renamed_file_stays_in_use_while_its_directory_cannot_be_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    (tmp_path / "logs").mkdir()
    target = LogFile(tmp_path / "logs" / "log", lambda: now[0])
    target("1")
    (tmp_path / "logs").rename(tmp_path / "logs.old")
    (tmp_path / "logs").write_text("a file in the way")
    with caplog.at_level(logging.WARNING, "portal.http"):
        for _ in range(3):
            now[0] += 1.0
            target(f"{now[0]:.0f} s")
    assert (tmp_path / "logs.old" / "log").read_text().splitlines() == ["1", "1 s", "2 s", "3 s"]
    assert len(caplog.records) == 1
    (tmp_path / "logs").unlink()
    now[0] += 1.0
    target("4 s")
    assert (tmp_path / "logs" / "log").read_text() == "4 s\n"


def test_a_file_that_is_gone_and_cannot_be_made_again_costs_an_error_for_each_line(tmp_path: Path) -> None:
    now = [0.0]
    (tmp_path / "logs").mkdir()
    target = LogFile(tmp_path / "logs" / "log", lambda: now[0])
    target("1")
    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "logs").write_text("a file in the way")
    now[0] = 1.0
    for _ in range(3):
        with pytest.raises(OSError):
            target("lost")
    (tmp_path / "logs").unlink()
    target("2")
    assert (tmp_path / "logs" / "log").read_text() == "2\n"


# who opens the file


def test_the_first_line_makes_the_file(path: Path) -> None:
    target = LogFile(path)
    assert not path.exists()
    target("1")
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


AS_USER = """
import os, sys
from portal.http.middleware.gathered_file import GatheredFile
from portal.http.middleware.log_file import LogFile
path, kind, forks, *before = sys.argv[1:]
now = [0.0]
target = file = LogFile(path, lambda: now[0])
if kind == "gathered":
    target = GatheredFile(file, 3600.0, str)
def write(line):
    target(line)
    if kind == "gathered":
        target.flush()
for line in before:
    write(line)  # before the fork, as a server that loads the portal first may do
child = os.fork()
if child == 0:
    if forks == "2" and (other := os.fork()) != 0:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
    os.setuid(65534)
    write("1 of a worker")
    now[0] = 10.0  # it looks whether the file was rotated
    write("2 of a worker")
    target.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
write("after")
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may change its user")
@pytest.mark.parametrize("kind", ["plain", "gathered"])
@pytest.mark.parametrize("before", [[], ["1 of root"], ["1 of root", "2 of root"]], ids=["none", "one", "two"])
@pytest.mark.parametrize("forks", [1, 2])
def test_a_worker_with_another_user_writes_the_file(kind: str, before: list[str], forks: int) -> None:
    """It opens the file itself, or goes on with the file that root has opened before the fork."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        path = Path(folder, "log")
        command = [sys.executable, "-W", "ignore", "-c", AS_USER, str(path), kind, str(forks), *before]
        subprocess.run(command, check=True, timeout=120)
        assert path.read_text().splitlines() == [*before, "1 of a worker", "2 of a worker", "after"]
        assert path.stat().st_uid == (0 if before else 65534)


@pytest.mark.parametrize("kind", ["directory", "no folder", "a file as folder", "loop"])
def test_a_path_that_cannot_be_written_is_rejected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    if kind == "directory":
        path.mkdir()
    elif kind == "no folder":
        path = tmp_path / "none" / "log"
    elif kind == "a file as folder":
        path.write_text("")
        path = path / "log"
    else:
        path.symlink_to(path)
    with pytest.raises(ConfigError) as raised:
        LogFile(path)
    assert raised.value.path == "request_log.target"


def test_threads_that_notice_a_rotation_together_lose_no_line(tmp_path: Path) -> None:
    path, now = tmp_path / "log", [0.0]
    target = LogFile(path, lambda: now[0])

    def work(name: int) -> None:
        for number in range(300):
            target(json.dumps([name, number]))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        now[0] += 1.0
        try:
            path.rename(tmp_path / f"log.{number}")
        except FileNotFoundError:
            continue
    for thread in threads:
        thread.join(WAIT)
    rows = [json.loads(line) for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sorted(rows) == [[name, number] for name in range(4) for number in range(300)]
