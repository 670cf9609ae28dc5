"""GatheredFile: append lines to a file, those of a short time together."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..._internal.at_fork import new_lock, renew_after_fork
from ..._internal.background import BackgroundLoop
from ..._internal.conditions import Event
from ..._internal.log import get_logger
from ..._internal.weak_bag import WeakBag
from ...errors import OverloadedError
from .log_file import LogFile

__all__ = ["GatheredFile"]

ItemT = TypeVar("ItemT")

_log = get_logger("portal.http")
_MAX_WAITING = 10_000  # lines; the thread that adds one more writes them
_MAX_WRITE = 1_000  # lines of one write
_BATCH = 50  # lines that are formatted together
_CLOSE_WAIT = 5.0  # seconds


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
        with _lock:
            _living.add(self)

    def after_fork(self) -> None:
        """Start empty and without a thread: the parent writes its own lines."""
        self._items: deque[ItemT] = deque()
        self._texts: deque[str] = deque()  # each of up to _BATCH lines
        self._making = threading.Lock()  # held while items are formatted; only its holder takes items
        self._writing = threading.Lock()  # held during a write; only its holder takes texts
        self._some = Event()  # set while the thread is about to write
        self._state = threading.Lock()  # guards starting the loop, closing, and setting `_some`
        self._closed = Event()

    def __call__(self, item: ItemT) -> None:
        """Append the line of an item, soon. Raises: OSError if too many lines wait and cannot be written."""
        if len(self._items) >= _BATCH:
            self._make_lines_soon()
        self._items.append(item)
        # The thread first clears `_some` and then takes the items. So if it is set, the thread will find this one.
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
        items, lines = self._items, []
        for _ in range(min(len(items), _BATCH)):  # other threads go on adding
            item = items.popleft()
            try:
                lines.append(self._line_of(item))
            except Exception as error:
                _log.warning("a request is not logged: %s: %s", type(error).__name__, error)
        if lines:
            self._texts.append("\n".join(lines))

    def _make_room(self) -> None:
        if not self._writing.acquire(blocking=False):
            raise OSError("lines are added faster than they are written")
        try:
            self._write()
        finally:
            self._writing.release()

    def _wake(self) -> None:
        """Have the thread write soon. Without a thread, write now."""
        with self._state:
            if not self._closed.is_set() and self._has_thread():
                self._some.set()
                return
        self.flush()

    def _has_thread(self) -> bool:
        try:
            self._loop.start()
        except OverloadedError:
            return False
        return True

    def _wait_and_write(self) -> None:
        self._some.wait(60.0)
        self._closed.wait(self._delay)
        self._some.clear()
        self.flush()

    def flush(self) -> None:
        """Write all waiting lines now."""
        with self._writing:
            self._make_and_write()

    def _make_and_write(self) -> None:
        try:
            with self._making:
                while self._items:
                    self._make_lines()
            self._write()
        except Exception as error:  # for example a full disk: the thread goes on
            _log.warning("requests are not logged: the file failed: %s: %s", type(error).__name__, error)

    def _write(self) -> None:
        texts = self._texts
        while texts:
            count = min(len(texts), _MAX_WRITE // _BATCH)
            self._file("\n".join([texts.popleft() for _ in range(count)]))

    def close(self) -> None:
        """Write all waiting lines, end the thread and close the file. A later line is written at once."""
        with self._state:
            self._closed.set()
            self._some.set()
        self._loop.stop(_CLOSE_WAIT)
        self._some.clear()
        if not self._writing.acquire(timeout=_CLOSE_WAIT):
            _log.warning("the request log is not closed: a write has not ended for %.0f seconds", 2 * _CLOSE_WAIT)
            return
        try:
            self._make_and_write()
        finally:
            self._writing.release()
        self._file.close()


_lock = new_lock()  # guards the bag below
_living: WeakBag[GatheredFile[Any]] = WeakBag()


@atexit.register
def _flush_all() -> None:
    with _lock:
        files = _living.items()
    for file in files:
        file.flush()
