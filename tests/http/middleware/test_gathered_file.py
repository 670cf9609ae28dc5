"""Files that lines are appended to, one by one or those of a moment together."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from portal import HTTPPortal
from portal.errors import ConfigError
from portal.http import RequestLog
from portal.http.middleware import gathered_file
from portal.http.middleware.gathered_file import GatheredFile
from portal.http.middleware.log_file import LogFile

FOREVER = 3600.0  # a delay that no test waits for


class Slow(LogFile):
    """A file whose writes wait until they may go on; it counts them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_write, self.begun, self.writes = threading.Event(), threading.Event(), 0

    def __call__(self, line: str) -> None:
        self.begun.set()
        assert self.may_write.wait(20)
        self.writes += 1
        super().__call__(line)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines"


@pytest.fixture
def gathered(path: Path) -> Iterator[GatheredFile[str]]:
    file = GatheredFile(LogFile(path), FOREVER, str)
    yield file
    file.close()


def test_lines_wait_and_are_written_together(path: Path) -> None:
    slow = Slow(path)
    slow.may_write.set()
    file = GatheredFile(slow, FOREVER, str)
    for number in range(100):
        file(f"line {number}")
    assert not path.exists()
    file.flush()
    assert path.read_text().splitlines() == [f"line {number}" for number in range(100)]
    assert slow.writes == 1
    file.close()


def test_they_are_written_after_the_delay(path: Path) -> None:
    slow = Slow(path)
    file = GatheredFile(slow, 0.001, str)
    file("line")
    assert slow.begun.wait(20)
    slow.may_write.set()
    file.close()
    assert path.read_text() == "line\n"


def test_what_comes_after_the_end_is_written_at_once(path: Path, gathered: GatheredFile[str]) -> None:
    gathered("before")
    gathered.close()
    for name in ("one", "two"):
        gathered(name)
        assert path.read_text().endswith(f"{name}\n")


def test_those_that_wait_have_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered_file, "_MAX_WAITING", 10)
    monkeypatch.setattr(gathered_file, "_BATCH", 2)
    slow = Slow(path)
    file = GatheredFile(slow, 0.001, str)
    file("line")
    assert slow.begun.wait(20)  # the thread writes, and the disk hangs
    for _ in range(10):
        file("line")
    with pytest.raises(OSError, match="faster"):
        file("line")
    slow.may_write.set()
    file.close()
    assert path.read_text() == "line\n" * 11


def test_the_thread_that_adds_too_many_lines_writes_them(
    path: Path, gathered: GatheredFile[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(gathered_file, "_MAX_WAITING", 10)
    monkeypatch.setattr(gathered_file, "_BATCH", 2)
    for number in range(25):
        gathered(f"line {number}")
    written = path.read_text().splitlines()
    assert len(written) >= 14
    assert written == [f"line {number}" for number in range(len(written))]


def test_the_thread_that_completes_a_batch_formats_it(path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(gathered_file, "_BATCH", 5)
    made: list[int] = []

    def line_of(number: int) -> str:
        made.append(number)
        return f"line {number}"

    file = GatheredFile(LogFile(path), FOREVER, line_of)
    for number in range(5):
        file(number)
    assert made == []
    for number in range(5, 12):
        file(number)
    assert made == list(range(10))
    assert not path.exists()
    file.close()
    assert path.read_text().splitlines() == [f"line {number}" for number in range(12)]


def test_what_no_line_can_be_made_of_costs_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def line_of(number: int) -> str:
        return f"line {1 // number}"

    file = GatheredFile(LogFile(path), FOREVER, line_of)
    with caplog.at_level(logging.WARNING):
        file(0)
        file.flush()
        file(1)
        file.close()
    assert "ZeroDivisionError" in caplog.text
    assert path.read_text() == "line 1\n"


def test_a_line_that_cannot_be_made_leaves_the_others(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = GatheredFile(LogFile(path), FOREVER, lambda number: f"line {6 // number}")
    with caplog.at_level(logging.WARNING):
        for number in (1, 2, 0, 3, 0):
            file(number)
        file.flush()
    assert path.read_text().splitlines() == ["line 6", "line 3", "line 2"]
    assert caplog.text.count("ZeroDivisionError") == 2
    file.close()


def test_a_line_that_is_added_while_the_file_closes_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that adds it has seen an open file, and wakes the writing thread after that has ended."""
    file = GatheredFile(LogFile(path), FOREVER, str)
    thread_of, closing = GatheredFile._has_thread, []

    def close_first(self: GatheredFile[str]) -> bool:
        found = thread_of(self)
        if not closing:
            closing.append(threading.Thread(target=file.close))
            closing[0].start()
        return found

    monkeypatch.setattr(GatheredFile, "_has_thread", close_first)
    file("one")
    closing[0].join(20)
    for name in ("two", "three"):
        file(name)
        assert path.read_text().endswith(f"{name}\n")
    assert path.read_text() == "one\ntwo\nthree\n"


def test_a_close_does_not_wait_for_ever_for_a_disk_that_hangs(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gathered_file, "_CLOSE_WAIT", 0.01)
    slow = Slow(path)
    file = GatheredFile(slow, 0.0, str)
    file("line")
    assert slow.begun.wait(20)
    with caplog.at_level(logging.WARNING):
        file.close()
    assert "not closed" in caplog.text
    slow.may_write.set()
    file.close()
    assert path.read_text() == "line\n"


@pytest.mark.parametrize("delay", [0.0, 0.0005])
def test_no_line_is_lost_while_the_file_closes(path: Path, delay: float) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(60):
            file, together = GatheredFile(LogFile(path), delay, str), threading.Barrier(3)

            def add(name: str, file: GatheredFile[str] = file, together: threading.Barrier = together) -> None:
                together.wait(20)
                for line in range(10):
                    file(f"{name} {line}")

            threads = [threading.Thread(target=add, args=(f"{number} {name}",)) for name in "ab"]
            for thread in threads:
                thread.start()
            together.wait(20)
            file.close()
            for thread in threads:
                thread.join(20)
            assert len(path.read_text().splitlines()) == 20 * (number + 1)
    finally:
        sys.setswitchinterval(before)


def test_no_line_of_many_threads_is_lost(path: Path) -> None:
    file = GatheredFile(LogFile(path), 0.0005, str)

    def write(name: int) -> None:
        for number in range(2000):
            file(f"{name} {number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    file.close()
    rows = [tuple(map(int, line.split())) for line in path.read_text().splitlines()]
    assert sorted(rows) == [(name, number) for name in range(4) for number in range(2000)]
    for name in range(4):
        assert [number for who, number in rows if who == name] == list(range(2000))


def test_a_file_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, gathered: GatheredFile[str], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        gathered("line")
        gathered._file.close()
        path.mkdir()
        gathered.flush()
    assert "are not logged" in caplog.text
    path.rmdir()


CODE = """
import os, sys
from portal.http.middleware.gathered_file import GatheredFile
from portal.http.middleware.log_file import LogFile
file = GatheredFile(LogFile(sys.argv[1]), 3600.0, str)
file("parent")
child = os.fork()
file("child" if child == 0 else "parent again")
if child:
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_at_its_end_each_process_writes_its_own_lines_once(path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", CODE, str(path)], check=True, timeout=60)
    assert sorted(path.read_text().splitlines()) == ["child", "parent", "parent again"]


def test_a_portal_that_closes_writes_its_lines(path: Path) -> None:
    def add(a: float, b: float) -> float:
        return a + b

    with HTTPPortal(http_middleware=[RequestLog(path, delay=10.0)]) as portal:
        address = str(portal.apply(add))
        assert requests.post(address, json={"a": 1, "b": 2}, timeout=10).json() == 3.0
        assert not path.exists()
    portal.close()
    assert '"function":"add"' in path.read_text()


@pytest.mark.parametrize("delay", [-1, True, "1", 11.0, float("nan")])
def test_wrong_delays_are_named(path: Path, delay: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        RequestLog(path, delay=delay)
    assert raised.value.path == "request_log.delay"


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError(), OSError(11, "again")])
def test_lines_are_written_at_once_if_no_thread_can_be_started(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    file = GatheredFile(LogFile(path), 0.01, str)

    def fail(thread: threading.Thread) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        file("first")
        file("second")
        assert path.read_text() == "first\nsecond\n"
    file("third")
    assert file._loop.running
    file.close()
    assert path.read_text() == "first\nsecond\nthird\n"


def test_a_log_closes_although_its_thread_never_started(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    file = GatheredFile(LogFile(path), FOREVER, str)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(KeyboardInterrupt):
            file("kept")
        file.close()
    assert path.read_text() == "kept\n"


@pytest.mark.parametrize("error", [SystemExit(1), MemoryError(), RuntimeError("wrong")])
def test_the_thread_goes_on_after_a_write_that_raises(path: Path, error: BaseException) -> None:
    class Faulty(LogFile):
        faults: ClassVar[list[BaseException]] = [error]
        failed, wrote = threading.Event(), threading.Event()

        def __call__(self, line: str) -> None:
            if self.faults:
                self.failed.set()
                raise self.faults.pop()
            super().__call__(line)
            self.wrote.set()

    faulty = Faulty(path)
    file = GatheredFile(faulty, 0.001, str)
    file("lost")
    assert faulty.failed.wait(20)
    file("kept")
    assert faulty.wrote.wait(20)
    file.close()
    assert "kept" in path.read_text()


def test_a_portal_with_a_log_stops_when_no_thread_can_be_started(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        if thread.name == "portal-log":
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    with HTTPPortal(http_middleware=[RequestLog(path)]) as portal:
        monkeypatch.setattr(threading.Thread, "start", fail)
        for _ in range(3):
            requests.get(str(portal.base), timeout=20)
    assert len(path.read_text().splitlines()) == 3
