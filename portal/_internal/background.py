"""The threads of this package: BackgroundLoop repeats a step, and start_thread starts any other thread.

A thread that ends by an exception ends in silence, and what it did is not done any more. So an exception ends one step
of a loop and not the loop. A thread that ends all the same is replaced. If the system has no thread, `failing_loops`
names the loop, so that the process can say that it is not ready.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Protocol

from ..errors import OverloadedError
from .at_fork import new_lock, renew_after_fork
from .closing import run_all
from .log import get_logger
from .weak_bag import WeakBag

__all__ = [
    "BackgroundLoop",
    "LoopGuard",
    "failing_loops",
    "logging_errors",
    "restart_lost_loops",
    "run_apart",
    "start_thread",
    "supervise",
]

_log = get_logger("portal.threads")
_FIRST_PAUSE = 0.001  # seconds after a failed step; doubles with each further one
_MAX_PAUSE = 0.25  # seconds
_TOLERANCE = 0.5  # seconds for which a loop may fail before it counts as failing


def start_thread(name: str, run: Callable[..., object], *args: Any) -> threading.Thread:
    """Start a daemon thread that calls `run(*args)`, which handles its errors itself; see `logging_errors`.

    Raises: OverloadedError if the system cannot start a thread.
    """
    try:
        thread = threading.Thread(target=run, args=args, name=name, daemon=True)
        thread.start()
    except (RuntimeError, MemoryError, OSError) as error:  # RuntimeError also while the interpreter ends
        raise OverloadedError(f"no thread can be started for {name}: {error}", retry_after=1.0) from error
    return thread


def logging_errors(name: str, run: Callable[..., object], *args: Any) -> None:
    """Call `run(*args)` and log what it raises, for the thread `name` that does nothing else."""
    try:
        run(*args)
    except BaseException:
        _log.exception("the thread %s ended by an exception", name)


def run_apart(name: str, run: Callable[..., object], *args: Any) -> None:
    """Call `run(*args)` in a daemon thread of its own, or here if the system cannot start one. Log what it raises."""
    try:
        start_thread(name, logging_errors, name, run, *args)
    except OverloadedError:
        logging_errors(name, run, *args)


class Supervised(Protocol):
    """A component with threads that `supervise` watches and restarts.

    Attributes:
        name: of the threads, for the log.
        failing: whether it should have a thread and has none, or whether what its thread does fails.
    """

    @property
    def name(self) -> str: ...

    @property
    def failing(self) -> bool: ...

    def restart(self) -> None:
        """Start the threads that are missing. Does nothing if that is not possible now."""

    def __hash__(self) -> int: ...


class LoopGuard:
    """Counts the failures of the steps of a loop, logs them, and pauses the loop.

    Args:
        name: of the loop, for the log.
        pause: waits for seconds.
        clock: seconds, as `time.monotonic`.

    Attributes:
        failures: how many steps have failed.
        in_a_row: how many of the last steps have failed.

    Threads: any. A replaced thread that still runs may add to it, too.
    """

    __slots__ = ("_clock", "_first", "_lock", "_name", "_pause", "failures", "in_a_row")

    def __init__(
        self, name: str, *, pause: Callable[[float], object] = sleep, clock: Callable[[], float] = monotonic
    ) -> None:
        self._lock = threading.Lock()  # guards counting
        self.failures = 0
        self._name = name
        self._pause = pause
        self._clock = clock
        self.in_a_row = 0
        self._first = 0.0  # the moment of the first failure in a row

    def clear(self) -> None:
        """Note a step that did not fail."""
        if self.in_a_row:
            with self._lock:
                self.in_a_row = 0

    def note(self, error: BaseException) -> None:
        """Count, log and pause after a failed step. Of many failures in a row, the 1st, 2nd, 4th, ... are logged.

        This raises nothing. If it fails itself, for example without memory, the next failed step is noted.
        """
        try:
            self._note(error)
        except BaseException:
            return

    def _note(self, error: BaseException) -> None:
        now = self._clock()
        with self._lock:
            self.failures += 1
            self.in_a_row += 1
            count = self.in_a_row
            if count == 1:
                self._first = now
        if count & (count - 1) == 0:
            _log.error("a step of %s failed: consecutive_failures=%d", self._name, count, exc_info=error)
        self._pause(min(_MAX_PAUSE, _FIRST_PAUSE * 2 ** min(count - 1, 10)))

    @property
    def failing(self) -> bool:
        """Whether at least two steps in a row have failed, and the first of them some time ago."""
        return self.in_a_row > 1 and self._clock() - self._first >= _TOLERANCE


class BackgroundLoop:
    """Repeats a step in one daemon thread, from the first `start` until `stop`.

    The step waits for its work itself. An exception ends the step; it is logged, and after a pause the next step
    follows. If the thread ends all the same, another one is started. If the system cannot start one, the next `start`
    or `restart_lost_loops` tries again.

    Args:
        name: of the thread.
        step: does one piece of the work.
        pause: waits for seconds after a failed step.
        clock: seconds, as `time.monotonic`.

    Attributes:
        running: whether a thread repeats the step.
        guard: counts the failed steps.

    Threads: any. Fork: a child has no thread; it may start the loop again.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
        *,
        pause: Callable[[float], object] = sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self._step = step
        self._pause = pause
        self._clock = clock
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without a thread; called by `__init__`, and in a child process after a fork."""
        self.running = False
        self.guard = LoopGuard(self.name, pause=self._pause, clock=self._clock)
        self._lock = threading.Lock()  # guards the attributes around it
        self._turn: object | None = None  # identifies the thread that may go on
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._lost_at: float | None = None  # since when no thread can be started

    def start(self) -> None:
        """Start the thread unless it runs. A loop that was stopped starts again.

        Raises: OverloadedError if the system cannot start a thread. `restart_lost_loops` then tries again.
        """
        if self.running:
            return
        supervise(self)
        with self._lock:
            self._wanted = True
            if not self.running:
                self._start_thread()

    def _start_thread(self) -> None:
        turn = self._turn = object()
        self.running = True
        try:
            self._thread = start_thread(self.name, self._run, turn)
        except BaseException:
            self._turn = None  # if the thread runs all the same, it ends
            self.running = False
            if self._lost_at is None:
                self._lost_at = self._clock()
            raise
        self._lost_at = None

    def stop(self, timeout: float | None = 5.0) -> None:
        """Let no further step begin, and wait for the present one. The caller wakes a step that waits before this.

        Args:
            timeout: seconds to wait for the thread; None waits without limit.
        """
        with self._lock:
            self._wanted = self.running = False
            self._turn = self._lost_at = None
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    @property
    def failing(self) -> bool:
        """Whether it should run and does not, or whether its steps fail."""
        if not self._wanted:
            return False
        lost_at = self._lost_at
        return (lost_at is not None and self._clock() - lost_at >= _TOLERANCE) or self.guard.failing

    def _run(self, turn: object) -> None:
        guard = self.guard
        try:
            while self._turn is turn:
                try:
                    self._step()
                    guard.clear()
                except BaseException as error:
                    guard.note(error)
        finally:
            self._replace(turn)

    def _replace(self, turn: object) -> None:
        """Start another thread if this one ends without being asked to."""
        with self._lock:
            if self._turn is not turn or sys.is_finalizing():
                return
            self.running = False
            self._start_if_possible()

    def restart(self) -> None:
        """Start the thread of a loop that has lost it. Does nothing if that is not possible now."""
        with self._lock:
            if self.running and self._thread is not None and not self._thread.is_alive():
                self.running = False  # an exception has ended it where no code could see that
            if self._wanted and not self.running:
                self._start_if_possible()

    def _start_if_possible(self) -> None:
        known = self._lost_at is not None
        try:
            self._start_thread()
        except OverloadedError as error:
            if not known:
                _log.error("the loop %s has no thread: %s", self.name, error.__cause__)


_lock = new_lock()  # guards the bag below
_supervised: WeakBag[Supervised] = WeakBag()


def supervise(owner: Supervised) -> None:
    """Include an object in `failing_loops` and `restart_lost_loops` as long as it lives."""
    with _lock:
        _supervised.add(owner)


def _living() -> list[Supervised]:
    with _lock:
        return _supervised.items()


def failing_loops() -> list[str]:
    """Return the names of the loops and pools of this process that should run and do not."""
    return sorted({one.name for one in _living() if one.failing})


def restart_lost_loops() -> None:
    """Start the threads that are missing. The listener calls this from time to time."""
    run_all(*(one.restart for one in _living()))
