"""Files that lines are appended to: LogFile writes each at once, GatheredFile those of a moment together."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from ..._internal.at_fork import renew_after_fork
from ...errors import ConfigError

__all__ = ["GatheredFile", "LogFile"]

ItemT = TypeVar("ItemT")

_log = logging.getLogger("portal.http")
_STILL_THERE = 1.0  # seconds between looks at whether the file has been rotated
_MOST = 10_000  # lines that may wait; whoever brings the next one writes them
_AT_ONCE = 1_000  # lines of one write
_TOGETHER = 50  # lines that are made one after the other


class _File:
    """A descriptor that is closed when the last thread has let go of it, never under one that writes."""

    __slots__ = ("fd", "inode")

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.inode = _inode_of(os.fstat(self.fd))

    def __del__(self) -> None:
        fd = getattr(self, "fd", None)
        if fd is not None:
            os.close(fd)


class LogFile:
    """Appends lines to a file that several processes may share; a file that was rotated away is opened anew.

    What is given is one write of the system (O_APPEND), so that lines never mix. No lock is taken: threads that notice
    a rotation together open the file twice, and one of the two is dropped. Threads: any. Fork: safe. `close` gives the
    file back.

    Raises: ConfigError, when made, for a file that cannot be appended to.
    """

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = monotonic) -> None:
        self._path = os.fspath(path)
        self._clock = clock
        self._looked = clock()
        try:
            self._file: _File | None = _File(self._path)
        except OSError as error:
            raise ConfigError(
                f"the log {self._path} cannot be opened: {error.strerror}",
                path="request_log.target",
                expected="a file that can be appended to",
            ) from error

    def __call__(self, line: str) -> None:
        """Append a line, or several with line ends between them. OSError when the disk is full, say."""
        data = line.encode("utf-8", "replace") + b"\n"
        file = self._current()
        if os.write(file.fd, data) != len(data):
            raise OSError("only a part of the line was written")

    def _current(self) -> _File:
        file, now = self._file, self._clock()
        if file is not None and now - self._looked < _STILL_THERE:
            return file
        self._looked = now
        if file is None or not self._still_there(file):
            file = self._file = _File(self._path)
        return file

    def _still_there(self, file: _File) -> bool:
        try:
            return _inode_of(os.stat(self._path)) == file.inode
        except OSError:
            return False

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        self._file = None


def _inode_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class GatheredFile(Generic[ItemT]):
    """A LogFile whose lines wait for a moment, so that many are one write.

    Those that wait are written after the delay, by `close`, and when the interpreter ends; a process that is killed, or
    left by `os._exit`, loses them. Lines of one thread stay in order. What cannot be written costs a warning.

    Args:
        delay: seconds.
        line_of: the line of what was given. Whoever brings one too many makes the lines of those that wait: one after
            the other they cost half, and the thread that writes would take the interpreter's lock from all others.

    Threads: any; one of its own, from the first line on, writes. Fork: a child has none of the parent's lines.
    """

    def __init__(self, file: LogFile, delay: float, line_of: Callable[[ItemT], str]) -> None:
        self._file = file
        self._delay = delay
        self._line_of = line_of
        self.after_fork()
        renew_after_fork(self)
        _living.add(self)

    def after_fork(self) -> None:
        """Begin anew: the parent writes its own lines."""
        self._items: deque[ItemT] = deque()
        self._texts: deque[str] = deque()  # of so many lines or less each
        self._making = threading.Lock()  # held while lines are made of items
        self._writing = threading.Lock()  # held over a write, by whoever writes; nobody else waits for it
        self._some = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, item: ItemT) -> None:
        """Append its line, soon. OSError where too many wait and cannot be written."""
        if len(self._items) >= _TOGETHER:
            self._make_lines_soon()
        self._items.append(item)
        if not self._some.is_set():
            self._wake()

    def _make_lines_soon(self) -> None:
        """Make lines of what waits, unless somebody does."""
        if (len(self._texts) + 1) * _TOGETHER + len(self._items) > _MOST:
            self._make_room()
        if self._making.acquire(blocking=False):
            try:
                self._make_lines()
            finally:
                self._making.release()

    def _make_lines(self) -> None:
        items, line_of = self._items, self._line_of
        count = min(len(items), _TOGETHER)  # others go on adding
        if count:
            self._texts.append("\n".join([line_of(items.popleft()) for _ in range(count)]))

    def _make_room(self) -> None:
        if not self._writing.acquire(blocking=False):
            raise OSError("lines come faster than they are written")
        try:
            self._write()
        finally:
            self._writing.release()

    def _wake(self) -> None:
        if self._closed.is_set():
            self.flush()
            return
        self._some.set()
        if self._thread is None:
            with self._writing:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="portal-log", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._some.wait(60.0)
            self._closed.wait(self._delay)
            self._some.clear()
            self.flush()

    def flush(self) -> None:
        """Write what waits, now."""
        with self._writing:
            try:
                with self._making:
                    while self._items:
                        self._make_lines()
                self._write()
            except Exception as error:  # a full disk, or what no line can be made of: the thread goes on
                _log.warning("requests cannot be logged: %s: %s", type(error).__name__, error)

    def _write(self) -> None:
        texts = self._texts
        while texts:
            count = min(len(texts), _AT_ONCE // _TOGETHER)
            self._file("\n".join([texts.popleft() for _ in range(count)]))

    def close(self) -> None:
        """Write what waits, end the thread and close the file."""
        self._closed.set()
        self._some.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)
        self._some.clear()
        self.flush()
        self._file.close()


_living: WeakSet[GatheredFile[Any]] = WeakSet()


@atexit.register
def _flush_all() -> None:
    for file in list(_living):
        file.flush()
