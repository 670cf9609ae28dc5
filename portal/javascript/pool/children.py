"""ChildPool: the child processes of one engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic

from ..._internal.at_fork import renew_after_fork
from ..._internal.background import BackgroundLoop
from ..._internal.closing import run_all
from ..._internal.conditions import Condition
from ..._internal.log import get_logger
from ...errors import ConfigError, OverloadedError
from ..engine import EngineError, Host
from ..limits import Limits
from ..program import Program
from .process import ChildProcess, ChildSettings
from .runner import PoolSettings, Runner

__all__ = ["ChildPool"]

_log = get_logger("portal.javascript")
_MEMORY_INTERVAL = 64  # calls between two looks at the memory of a child
_inherited: list[ChildProcess] = []  # children of the process that this one was forked from


class _Taken:
    """What one thread has taken from the pool: a child until it is given back, or the place of one that it starts."""

    child: ChildProcess | None = None


class ChildPool(Runner):
    """Runs each call in a child process, in a global object of its own.

    A thread of the pool replaces children that were killed and ends those that are idle for long. It starts with the
    first child.

    Args:
        child: how to start a child.
        settings: how many there are.
        start: starts a child.
        isolation: "process", or "wasm-process" for an engine that isolates the code once more.

    Threads: any. Fork: a forked process starts children of its own.
    """

    def __init__(
        self,
        child: ChildSettings,
        settings: PoolSettings,
        start: Callable[[ChildSettings], ChildProcess] = ChildProcess,
        isolation: str = "process",
    ) -> None:
        self.isolation = isolation
        self._child = child
        self._settings = settings
        self._start_child = start
        self.closed = False
        self._children: set[ChildProcess] = set()
        self._reset()
        renew_after_fork(self)

    def _reset(self) -> None:
        self._changed = Condition()  # guards the attributes below
        self._idle: list[tuple[ChildProcess, float]] = []  # with the moment of the last use; the latest at the end
        self._children = set()
        self._starting: set[_Taken] = set()  # by those who start a child that is not ready yet
        self._waiting = 0
        self._ending: list[tuple[ChildProcess, bool]] = []  # to be closed by the keeper, with whether to kill it
        self._keeper = BackgroundLoop("portal-javascript-pool", self._keep)
        self._sleeps = False  # whether the keeper waits without a limit
        self._started = self._killed = self._crashed = self._recycled = self._calls = 0
        self._memory_at_start: dict[ChildProcess, int] = {}
        self._measures: list[str] = []

    def after_fork(self) -> None:
        """Forget the children, which belong to the parent of this process; called in a forked process."""
        _inherited.extend(self._children)  # so that they are not waited for
        for child in self._children:
            child.abandon()
        self._reset()

    def run(self, program: Program, text: str, limits: Limits, host: Host, wait: float | None) -> str:
        """Make one call in a child; see `Runner.run`."""
        taken = _Taken()
        try:
            return self._call(taken, program, text, limits, host, limits.time if wait is None else wait)
        except BaseException:
            self._give_back(taken, broken=True)  # if the handler of a signal has raised where it was to be given back
            raise

    def _call(self, taken: _Taken, program: Program, text: str, limits: Limits, host: Host, wait: float) -> str:
        broken = True
        try:
            reply = self._take(taken, wait).call(program, text, limits, host)
            broken = False
            return reply
        except EngineError as error:
            broken = error.broken
            raise
        finally:
            run_all(lambda: self._give_back(taken, broken), attempts=2)

    def _take(self, taken: _Taken, wait: float) -> ChildProcess:
        end = monotonic() + wait
        with self._changed:
            self._calls += 1
            while True:
                if self.closed:
                    raise EngineError("host", "the portal is closed")
                if self._idle:
                    child = taken.child = self._idle[-1][0]
                    del self._idle[-1]  # no handler of a signal runs between the two, as it may after a call
                    if child.alive:
                        return child
                    self._discard(child, kill=False)
                    taken.child = None
                    self._crashed += 1
                    continue
                if len(self._children) + len(self._starting) < self._settings.max_size:
                    self._starting.add(taken)
                    break
                self._wait(end - monotonic())
        try:
            return self._start(taken, idle=False)
        finally:
            self._end_start(taken)

    def _end_start(self, taken: _Taken) -> None:
        with self._changed:
            self._starting.discard(taken)
            self._changed.notify_all()

    def _wait(self, left: float) -> None:
        busy = f"all {self._settings.max_size} JavaScript processes are busy"
        if self._waiting >= self._settings.max_waiting:
            raise OverloadedError(f"{busy} and {self._waiting} calls wait", retry_after=1.0)
        self._waiting += 1
        try:
            if left <= 0 or not self._changed.wait(left):
                raise OverloadedError(busy, retry_after=1.0)
        finally:
            self._waiting -= 1

    def _start(self, taken: _Taken, *, idle: bool) -> ChildProcess:
        """Start a child whose place is in `_starting`."""
        started: list[ChildProcess] = []
        try:
            # No handler of a signal runs between its start and its place in the list, as it may after a call.
            started.extend(map(self._start_child, (self._child,)))
            child = taken.child = started[0]
            self._take_in(child, child.memory(), idle=idle)
        except BaseException:
            run_all(*(partial(self._give_up, child) for child in started), attempts=2)
            raise
        return child

    def _take_in(self, child: ChildProcess, memory: int, *, idle: bool) -> None:
        with self._changed:
            self._started += 1
            self._measures = child.active
            self._children.add(child)
            self._memory_at_start[child] = memory
            if self.closed:
                self._discard(child, kill=True)
            elif idle:
                self._idle.append((child, monotonic()))
            self._ensure_keeper()

    def _give_up(self, child: ChildProcess) -> None:
        with self._changed:
            self._idle = [(one, since) for one, since in self._idle if one is not child]
            self._discard(child, kill=True)

    def _give_back(self, taken: _Taken, broken: bool) -> None:
        """Take a child back, or end it. May be called again, if an exception has interrupted it."""
        if taken in self._starting:
            self._end_start(taken)
        with self._changed:
            child, now = taken.child, monotonic()
            if child is None or child not in self._children:
                return
            try:
                is_worn = not broken and self._is_worn(child)
            except BaseException:
                self._discard(child, kill=True)
                raise
            if broken or self.closed:
                self._killed += 1
                self._discard(child, kill=True)
            elif is_worn:
                self._recycled += 1
                self._discard(child, kill=False)
            else:
                self._idle += [(child, now)]
                taken.child = None  # no handler of a signal runs between the two, as it may after a call
                if self._waiting or (self._sleeps and len(self._children) > self._settings.min_size):
                    self._changed.notify_all()

    def _is_worn(self, child: ChildProcess) -> bool:
        if child.uses >= self._settings.max_uses or child.is_full:
            return True
        if child.uses % _MEMORY_INTERVAL:
            return False
        return child.memory() - self._memory_at_start.get(child, 0) > self._settings.max_growth

    def _discard(self, child: ChildProcess, *, kill: bool) -> None:
        self._changed.notify_all()
        self._memory_at_start.pop(child, None)
        if kill:
            child.kill()
        self._ending += [(child, kill)]
        self._children.discard(child)  # last, as `_give_back` begins anew if an exception comes before

    # the keeper

    def _ensure_keeper(self) -> None:
        if not self.closed:
            with suppress(OverloadedError):  # it starts with the next child
                self._keeper.start()

    def _keep(self) -> None:
        with self._changed:
            needed = self._needed()
            ending, self._ending = self._ending, []
            if not ending and not needed:
                if not self.closed:
                    left = self._until_expiry()
                    self._sleeps = left is None
                    self._changed.wait(left)
                    self._sleeps = False
                    self._expire()
                return
        run_all(*[self._replace] * needed, *(child.close for child, _ in ending))

    def _replace(self) -> None:
        try:
            self._start_up_to(self._settings.min_size)
        except EngineError as error:  # the next call tries again, and reports it
            _log.error("a JavaScript process was not replaced: %s", error.message)

    def _start_up_to(self, number: int) -> bool:
        """Start a child that waits for a call. Return False if there are so many children, or the pool is closed."""
        with self._changed:
            if self.closed or len(self._children) + len(self._starting) >= number:
                return False
            self._starting.add(taken := _Taken())
        try:
            self._start(taken, idle=True)
        finally:
            self._end_start(taken)
        return True

    def _needed(self) -> int:
        if self.closed or (not self._children and not self._killed):
            return 0
        return max(0, self._settings.min_size - len(self._children) - len(self._starting))

    def _until_expiry(self) -> float | None:
        if len(self._children) <= self._settings.min_size or not self._idle:
            return None
        return max(0.0, self._idle[0][1] + self._settings.idle_time - monotonic())

    def _expire(self) -> None:
        while self._until_expiry() == 0.0:
            child, _ = self._idle.pop(0)
            self._discard(child, kill=False)

    def warm_up(self) -> None:
        """Start children until `min_size` are ready.

        Raises: ConfigError if none can be started.
        """
        try:
            while self._start_up_to(max(1, self._settings.min_size)):
                pass
        except EngineError as error:
            raise ConfigError(error.message, path="javascript.engine") from error

    def measures(self) -> list[str]:
        """Return the measures that are in force in the children."""
        return list(self._measures)

    def pids(self) -> list[int]:
        """Return the process ids of the children."""
        with self._changed:
            return sorted(child.pid for child in self._children)

    def stats(self) -> dict[str, int]:
        """Return the numbers of children, and of those started, killed, crashed and recycled so far."""
        with self._changed:
            return {
                "calls": self._calls,
                "children": len(self._children),
                "idle": len(self._idle),
                "waiting": self._waiting,
                "started": self._started,
                "killed": self._killed,
                "crashed": self._crashed,
                "recycled": self._recycled,
            }

    def close(self) -> None:
        """End all children and the thread of the pool; running calls fail. May be called twice."""
        with self._changed:
            self.closed = True
            for child in list(self._children):
                self._discard(child, kill=True)
            self._idle.clear()
            self._changed.notify_all()
        self._keeper.stop(10.0)
        with self._changed:
            ending, self._ending = self._ending, []
        for child, _ in ending:
            child.close()
