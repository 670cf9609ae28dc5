"""PolledDirectory: a Directory that reads a source again and again, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from .._internal.at_fork import renew_after_fork
from .._internal.background import BackgroundLoop
from .._internal.closing import run_all
from .._internal.conditions import Condition
from .._internal.log import get_logger
from .._internal.throttle import Throttle
from ..calls.deadlines import uncalled_error
from ..context import CallContext
from ..errors import CallCancelled, OverloadedError, TransportError
from .base import OnChange
from .instance import Instance
from .source import Lookup, Source

__all__ = ["PolledDirectory"]

_log = get_logger("portal.directory")
_WARNING_INTERVAL = 60.0  # seconds between two warnings about the same outage
_SLOW = 5.0  # seconds after which a poll that has not ended is a problem


class _Watched:
    """One watch of a name.

    Threads: the directory's; `close` from any. Its lock is held while `on_change` runs, so that the calls of one watch
    come one at a time and in order.
    """

    def __init__(self, directory: PolledDirectory, name: str, on_change: OnChange) -> None:
        self._directory = directory
        self.name = name
        self.on_change = on_change
        self.told: Lookup | None = None  # the list that `on_change` has taken
        self.seen: tuple[Instance, ...] | None = None  # what was in it
        self.warnings = Throttle(_WARNING_INTERVAL)
        self.after_fork()

    def after_fork(self) -> None:
        """Make a free lock; called by `__init__`, and by the directory in a child process after a fork."""
        self.lock = threading.RLock()

    def close(self) -> None:
        """End the watch."""
        self._directory.forget(self)


class PolledDirectory:
    """Tells which instances of a name are alive, from the last state of a source.

    A thread reads the source again from the first use on. If that fails, the last list stays in use, and `problem` says
    so. Who needs the first list waits for the thread, but not beyond the deadline of the running call: a source may
    take long, and no thread can be interrupted in it. If the system has no thread for it, the caller reads the source.

    Args:
        source: what is read.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting of the source.

    Threads: any. Fork: a child reads with a thread of its own.
    """

    def __init__(self, source: Source, *, clock: Callable[[], float] = monotonic) -> None:
        self._source = source
        self._clock = clock
        self._lookup: Lookup | None = None
        self._failure: str | None = None
        self._warnings = Throttle(_WARNING_INTERVAL)
        self._polls = 0
        self._watched: tuple[_Watched, ...] = ()
        self._closed = False
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without a thread; called by `__init__`, and in a child process after a fork."""
        self._wake = Condition()  # guards the attributes of `__init__`, and the next two
        self._is_wanted = False  # whether somebody waits for the first list
        self._is_reading = False
        self._loop = BackgroundLoop("portal-directory", self._wait_and_poll, clock=self._clock)
        self._polling = Condition()  # held during a poll and while it calls watchers
        self._polling_since: float | None = None
        for watched in self._watched:
            watched.after_fork()
        if self._watched:
            self._start_loop()

    @property
    def trusted(self) -> bool:
        """Whether the credentials of a caller may be sent to the hosts that this directory names."""
        return self._source.trusted

    @property
    def problem(self) -> str | None:
        """Why the lists may be out of date, or None."""
        if self._loop.failing:
            return "the directory is not read: no thread can be started for it, or its steps fail"
        since = self._polling_since
        if since is not None and self._clock() - since > _SLOW:
            return f"the directory has not responded for {self._clock() - since:.0f} seconds"
        return self._failure or self._source.problem

    def instances(self, name: str) -> tuple[Instance, ...]:
        """Return the living instances of a name; empty for an unknown name.

        Raises: TransportError if the source cannot be read and no list is known. CallTimeout and CallCancelled of the
            running call, if it ends before there is a list.
        """
        lookup = self._lookup
        if lookup is None:
            lookup = self._first_lookup(name)
            if lookup is None:
                raise TransportError(self._failure or "the directory cannot be read", delivery="not_sent")
        else:
            self._start_loop()
        return lookup(name)

    def _first_lookup(self, name: str) -> Lookup | None:
        """Let the thread read the source unless it does, and return the outcome for this and other waiting threads."""
        with self._wake:
            polls = self._polls
            if not self._is_reading:
                self._is_wanted = True
                self._wake.notify_all()
        if self._start_loop():
            self._await_poll(polls, name, CallContext.current() or CallContext())
        elif self._lookup is None:
            self.poll()
        return self._lookup

    def _await_poll(self, polls: int, name: str, context: CallContext) -> None:
        def has_ended() -> bool:
            return self._lookup is not None or self._polls != polls or self._closed or context.cancelled

        def wake() -> None:
            with self._wake:
                self._wake.notify_all()

        context.on_cancel(wake)
        try:
            with self._wake:
                self._wake.wait_for(has_ended, context.remaining())
        finally:
            context.forget(wake)
        if context.cancelled:
            message, where = "the caller cancelled the call before it was sent", {"request_id": context.request_id}
            raise CallCancelled(message, delivery="not_sent", context=where)
        if context.expired:
            raise uncalled_error(context, name, "the directory has not responded")

    def _start_loop(self) -> bool:
        """Return whether a thread reads the source."""
        with self._wake:
            if self._closed:
                return False
            try:
                self._loop.start()
            except OverloadedError as error:  # the list is used all the same; the next use tries again
                if self._warnings.allows(self._clock()):
                    _log.error("the directory is not read: %s", error)
                return False
        return True

    def known_names(self) -> tuple[str, ...]:
        """Return the names in the last list, to suggest one for a name that is not there."""
        names: tuple[str, ...] = getattr(self._lookup, "names", ())
        return names

    def watch(self, name: str, on_change: OnChange) -> _Watched:
        """Call `on_change` after each change of the instances of a name; see `Directory.watch`."""
        watched = _Watched(self, name, on_change)
        with self._wake:
            self._watched = (*self._watched, watched)
            self._wake.notify()
        try:
            if self._lookup is None:
                self._first_lookup(name)
            self._tell(watched)
            self._start_loop()
        except BaseException:  # the caller has no watch that it could close
            self.forget(watched)
            raise
        return watched

    def forget(self, watched: _Watched) -> None:
        """End a watch."""
        with self._wake:
            self._watched = tuple(one for one in self._watched if one is not watched)

    def poll(self) -> None:
        """Read the source now, and call the watchers of what has changed. The thread calls this."""
        with self._polling:
            self._polling_since = self._clock()
            try:
                self._read()
                for watched in self._watched:
                    self._tell(watched)
            finally:
                self._polling_since = None

    def _read(self) -> None:
        with self._wake:
            self._is_wanted, self._is_reading = False, True
        try:
            self._poll()
        finally:
            with self._wake:
                self._is_reading = False
                self._polls += 1
                self._wake.notify_all()

    def _poll(self) -> None:
        if self._closed:
            self._failure = "the directory is closed"
            return
        try:
            lookup = self._source.poll()
        except Exception as error:  # a store, a file or a resolver; the last list stays
            self._fail(error)
            return
        if self._failure is not None:
            self._failure = None
            self._warnings.reset()
            _log.warning("the directory is read again")
        if lookup is not None:
            self._lookup = lookup

    def _fail(self, error: Exception) -> None:
        self._failure = f"the directory cannot be read: {error}"
        if self._warnings.allows(self._clock()):
            _log.warning("%s; the last known list stays in use", self._failure)

    def _tell(self, watched: _Watched) -> None:
        """Call a watcher if it does not have the last list. If it fails, the next poll calls it again."""
        with watched.lock:
            lookup = self._lookup
            if lookup is None or lookup is watched.told:
                return
            found = lookup(watched.name)
            if found != watched.seen:
                try:
                    watched.on_change(found)
                except Exception:  # the other watchers are called all the same
                    if watched.warnings.allows(self._clock()):
                        message = "a watcher of the directory failed, and is called again: name=%s"
                        _log.exception(message, watched.name)
                    return
                watched.seen = found
            watched.told = lookup

    def _wait_and_poll(self) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._is_wanted, self._source.interval)
            if self._closed:
                return
        self.poll()

    def close(self) -> None:
        """End the thread and close the source. May be called twice."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        run_all(self._loop.stop, self._source.close)
