"""Append lines to a file: LogFile writes each line at once, GatheredFile writes the lines of a short time together."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from ..._internal.at_fork import renew_after_fork
from ..._internal.background import BackgroundLoop
from ..._internal.log import get_logger
from ...errors import ConfigError, OverloadedError

__all__ = ["GatheredFile", "LogFile"]

ItemT = TypeVar("ItemT")

_log = get_logger("portal.http")
_CHECK_INTERVAL = 1.0  # seconds between checks whether the file was rotated
_MAX_WAITING = 10_000  # lines; the thread that adds one more writes them
_MAX_WRITE = 1_000  # lines of one write
_BATCH = 50  # lines that are formatted together


class _File:
    """A file descriptor that closes when its last reference is gone, so never while a thread writes to it."""

    __slots__ = ("fd", "inode")

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.inode = _inode_of(os.fstat(self.fd))

    def __del__(self) -> None:
        fd = getattr(self, "fd", None)
        if fd is not None:
            os.close(fd)


class LogFile:
    """Appends lines to a file that several processes may share. After a rotation it opens the file again.

    Each call is one write to a file opened with O_APPEND, so lines of several processes never mix.

    Raises: ConfigError for a file that cannot be opened.

    Threads: any, without a lock. Threads that notice a rotation together open the file twice, and one is dropped.
    Fork: safe.
    """

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = monotonic) -> None:
        self._path = os.fspath(path)
        self._clock = clock
        self._checked_at = clock()
        try:
            self._file: _File | None = _File(self._path)
        except OSError as error:
            expected = f"a file that can be opened for appending ({error.strerror})"
            raise ConfigError.invalid("request_log.target", self._path, expected, cause=error) from error

    def __call__(self, line: str) -> None:
        """Append a line, or several with line breaks between them. Raises: OSError, for example if the disk is full."""
        data = line.encode("utf-8", "replace") + b"\n"
        file = self._current()
        if os.write(file.fd, data) != len(data):
            raise OSError("only part of the line was written")

    def _current(self) -> _File:
        file, now = self._file, self._clock()
        if file is not None and now - self._checked_at < _CHECK_INTERVAL:
            return file
        self._checked_at = now
        if file is None or not self._is_current(file):
            file = self._file = _File(self._path)
        return file

    def _is_current(self, file: _File) -> bool:
        try:
            return _inode_of(os.stat(self._path)) == file.inode
        except OSError:
            return False

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._file = None


def _inode_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class GatheredFile(Generic[ItemT]):
    """A LogFile whose lines wait for a short time, so that one write takes many of them.

    Waiting lines are written after the delay, by `close`, and when the interpreter exits. A process that is killed or
    calls `os._exit` loses them. Lines of one thread stay in order. If a write fails, a warning is logged.

    Args:
        delay: seconds.
        line_of: formats an item as a line. The caller that completes a batch formats it: a batch costs half as much as
            single lines, and the writing thread would otherwise hold the interpreter's lock for long.

    Threads: any. The first line starts the writing thread. Fork: a child does not write lines of its parent.
    """

    def __init__(self, file: LogFile, delay: float, line_of: Callable[[ItemT], str]) -> None:
        self._file = file
        self._delay = delay
        self._line_of = line_of
        self._loop = BackgroundLoop("portal-log", self._wait_and_write)
        self.after_fork()
        renew_after_fork(self)
        _living.add(self)

    def after_fork(self) -> None:
        """Start empty and without a thread: the parent writes its own lines."""
        self._items: deque[ItemT] = deque()
        self._texts: deque[str] = deque()  # each of up to _BATCH lines
        self._making = threading.Lock()  # held while items are formatted
        self._writing = threading.Lock()  # held during a write; other threads do not wait for it
        self._some = threading.Event()
        self._closed = threading.Event()

    def __call__(self, item: ItemT) -> None:
        """Append the line of an item, soon. Raises: OSError if too many lines wait and cannot be written."""
        if len(self._items) >= _BATCH:
            self._make_lines_soon()
        self._items.append(item)
        if not self._some.is_set():
            self._wake()

    def _make_lines_soon(self) -> None:
        """Format the waiting items unless another thread does."""
        if (len(self._texts) + 1) * _BATCH + len(self._items) > _MAX_WAITING:
            self._make_room()
        if not self._loop.running:
            self._wake()
        if self._making.acquire(blocking=False):
            try:
                self._make_lines()
            finally:
                self._making.release()

    def _make_lines(self) -> None:
        items, line_of = self._items, self._line_of
        count = min(len(items), _BATCH)  # other threads go on adding
        if count:
            self._texts.append("\n".join([line_of(items.popleft()) for _ in range(count)]))

    def _make_room(self) -> None:
        if not self._writing.acquire(blocking=False):
            raise OSError("lines are added faster than they are written")
        try:
            self._write()
        finally:
            self._writing.release()

    def _wake(self) -> None:
        if self._closed.is_set():
            self.flush()
            return
        self._some.set()
        try:
            self._loop.start()
        except OverloadedError:  # this thread writes, as no other can be started
            self._some.clear()
            self.flush()
        except BaseException:
            self._some.clear()
            raise

    def _wait_and_write(self) -> None:
        self._some.wait(60.0)
        self._closed.wait(self._delay)
        self._some.clear()
        self.flush()

    def flush(self) -> None:
        """Write all waiting lines now."""
        with self._writing:
            try:
                with self._making:
                    while self._items:
                        self._make_lines()
                self._write()
            except Exception as error:  # a full disk, or an item that cannot be formatted: the thread goes on
                _log.warning("requests are not logged: the file failed: %s: %s", type(error).__name__, error)

    def _write(self) -> None:
        texts = self._texts
        while texts:
            count = min(len(texts), _MAX_WRITE // _BATCH)
            self._file("\n".join([texts.popleft() for _ in range(count)]))

    def close(self) -> None:
        """Write all waiting lines, end the thread and close the file."""
        self._closed.set()
        self._some.set()
        self._loop.stop()
        self._some.clear()
        self.flush()
        self._file.close()


_living: WeakSet[GatheredFile[Any]] = WeakSet()


@atexit.register
def _flush_all() -> None:
    for file in list(_living):
        file.flush()
