"""LogFile: append lines to a file, a FIFO or a device, each at once."""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
from collections.abc import Callable
from time import monotonic

from ..._internal.at_fork import renew_after_fork
from ..._internal.log import get_logger
from ..._internal.throttle import Throttle
from ...errors import ConfigError

__all__ = ["LogFile"]

_log = get_logger("portal.http")
_CHECK_INTERVAL = 1.0  # seconds between checks whether the file was rotated
_WARN_INTERVAL = 60.0  # seconds between two warnings
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_PIPE_BUF = getattr(select, "PIPE_BUF", 512)
_PIPE_WAIT = 0.1  # seconds for which the reader of a FIFO may take nothing
_STALLED = "the reader takes nothing"


class _File:
    """A file descriptor that closes when its last reference is gone, so never while a thread writes to it.

    A write never waits for a reader. Opening a FIFO without a reader fails.

    Threads: any.
    """

    __slots__ = ("_is_regular", "_lock", "_pipe", "_torn", "fd", "inode")

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | _NO_WAIT, 0o640)
        status = os.fstat(self.fd)
        self.inode = _inode_of(status)
        self._is_regular = stat.S_ISREG(status.st_mode)
        self.after_fork()
        self._torn = self._is_regular and _ends_inside_line(path)  # whether the last line in the file lacks its end

    def after_fork(self) -> None:
        """Let go of the locks that a thread of the parent process may have held."""
        self._pipe = None if self._is_regular else _Pipe(self.fd)
        self._lock = threading.Lock()  # guards `_torn`, and is held while a regular file is written

    def write(self, data: bytes) -> None:
        """Append lines. Raises: OSError if only a part is written; a later write does not continue that part."""
        if self._pipe is not None:
            self._pipe.write(data)
            return
        with self._lock:
            self._write_regular(data)

    def _write_regular(self, data: bytes) -> None:
        """Write lines while the lock is held, as another thread may otherwise continue a part of a line."""
        if self._torn:
            data = b"\n" + data
        written = 0
        try:
            written = os.write(self.fd, data)
        finally:
            if written:
                self._torn = written < len(data) and not self._write_line_end()
        if written < len(data):
            raise OSError(errno.ENOSPC, "only part of the line was written")

    def _write_line_end(self) -> bool:
        """Return whether a line end fits after a part: another process that appends does not know of the part."""
        try:
            return os.write(self.fd, b"\n") == 1
        except OSError:  # most likely the disk is full
            return False

    @property
    def is_unlinked(self) -> bool:
        """Whether the file has no name any more, so that nobody will read it."""
        return os.fstat(self.fd).st_nlink == 0

    def __del__(self) -> None:
        fd = getattr(self, "fd", None)
        if fd is not None:
            os.close(fd)


class _Pipe:
    """A FIFO, or a terminal. Lines arrive whole: a write of PIPE_BUF bytes at most is atomic (pipe(7)).

    Threads: any. One thread writes at a time. If the reader takes nothing, the others fail at once.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()  # guards the attributes below; also held while a write waits
        self._stalled_until = 0.0
        self._rest = b""  # of a line longer than PIPE_BUF; nothing else is written before it

    def write(self, data: bytes) -> None:
        """Write lines. Raises: OSError if the reader takes nothing for a tenth of a second, and then for a second."""
        if not self._lock.acquire(timeout=self._patience()):
            raise BlockingIOError(errno.EAGAIN, _STALLED)
        try:
            self._rest, rest = b"", self._rest
            self._rest = self._send(rest)
            while data:
                if self._rest:
                    raise BlockingIOError(errno.EAGAIN, _STALLED)
                cut = data.rfind(b"\n", 0, _PIPE_BUF) + 1 or data.index(b"\n") + 1
                lines, data = data[:cut], data[cut:]
                left = self._send(lines)
                if len(left) == len(lines):
                    raise BlockingIOError(errno.EAGAIN, _STALLED)
                self._rest = left
        finally:
            self._lock.release()

    def _patience(self) -> float:
        return 0.0 if monotonic() < self._stalled_until else _PIPE_WAIT

    def _send(self, data: bytes) -> bytes:
        """Write what the reader takes, and return what is left."""
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                if not _is_writable(self._fd, self._patience()):
                    self._stalled_until = monotonic() + _CHECK_INTERVAL
                    break
        return data


def _is_writable(fd: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(timeout * 1000))


def _ends_inside_line(path: str) -> bool:
    """Return whether a file ends without a line end: the process that wrote it was killed, or the disk was full."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.seek(0, os.SEEK_END) > 0 and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
    except OSError:  # it may be writable only
        return False


class LogFile:
    """Appends lines to a file that several processes may share. After a rotation it opens the file again.

    Each call is one write to a file opened with O_APPEND, so lines of several processes never mix. If only a part of a
    line could be written, that part becomes a line of its own.

    The first line opens the file. So a process that changes its user before it serves opens it as that user. A child
    process opens the file anew. If it may not, because its parent has opened the file as root and the child has another
    user, it writes to the file that its parent has opened.

    If the directory is removed later, it is made again. If the reader of a FIFO takes nothing, lines are lost.

    Raises: ConfigError for a file that cannot be opened.

    Threads: any. A file that was opened before stays in use while a thread opens it again. Fork: safe.
    """

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = monotonic) -> None:
        self._path = os.fspath(path)
        self._clock = clock
        self._warnings = Throttle(_WARN_INTERVAL)
        _require_writable(self._path)
        self._file: _File | None = None
        self._inherited: _File | None = None  # what the parent process has opened, until this one opens the file
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Open the file again for the next line; a child process may change its user."""
        self._opening = threading.Lock()  # held by the thread that opens the file, and replaces the attributes below
        self._inherited, self._file = self._file or self._inherited, None
        if self._inherited is not None:
            self._inherited.after_fork()
        self._checked_at = self._clock()

    def __call__(self, line: str) -> None:
        """Append a line, or several with line breaks between them. Raises: OSError, for example if the disk is full."""
        self._current().write(line.encode("utf-8", "replace") + b"\n")

    def _current(self) -> _File:
        file, now = self._file, self._clock()
        if file is not None and now - self._checked_at < _CHECK_INTERVAL:
            return file
        if not self._opening.acquire(blocking=file is None):
            assert file is not None
            return file  # another thread checks
        try:
            file = self._file
            if file is None or not self._is_current(file):
                file = self._file = self._open(file or self._inherited)
                self._inherited = None
            self._checked_at = now
            return file
        finally:
            self._opening.release()

    def _open(self, before: _File | None) -> _File:
        """Open the file. If that fails, the file that was open before stays in use. Raises: OSError."""
        try:
            if before is not None:
                os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
            return _File(self._path)
        except OSError as error:
            if before is None or before.is_unlinked:
                raise
            if not self._is_current(before) and self._warnings.allows(self._clock()):
                _log.warning("the request log stays in the renamed file: it cannot be opened again: %s", error)
            return before

    def _is_current(self, file: _File) -> bool:
        try:
            return _inode_of(os.stat(self._path)) == file.inode
        except OSError:
            return False

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._opening:
            self._file = self._inherited = None


def _require_writable(path: str) -> None:
    """Raise ConfigError for a path at which no file can be written, as far as that is known before it is opened."""
    reason = 0
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            reason = errno.EISDIR
        elif not os.access(path, os.W_OK):
            reason = errno.EACCES
    except FileNotFoundError:
        folder = os.path.dirname(path) or "."
        reason = errno.ENOENT if not os.path.isdir(folder) else 0 if os.access(folder, os.W_OK) else errno.EACCES
    except OSError as error:
        reason = error.errno or errno.EINVAL
    if reason:
        expected = f"a file that can be opened for appending ({os.strerror(reason)})"
        raise ConfigError.invalid("request_log.target", path, expected)


def _inode_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
