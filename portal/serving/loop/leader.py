"""LeaderFollower: one thread at a time runs a loop, and another one takes over while a step is stuck.

Under CPython's lock, a short call is served fastest by the thread that has read it. To hand it to another thread costs
two context switches, which is several times the cost of the call. But the reading thread also watches all other
connections. So a step that does not end in time keeps its thread, and a new thread continues the loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, sleep

from ..._internal.background import BackgroundLoop, LoopGuard, start_thread
from ..._internal.conditions import Event
from ..._internal.log import get_logger
from ...errors import OverloadedError

__all__ = ["LeaderFollower", "Leadership"]

_log = get_logger("portal.serving")
_QUIET = 1.0  # seconds without a step after which the watching thread sleeps until it is woken
_SLEEP = 0.5  # seconds after which it looks whether a thread leads
_TOLERANCE = 0.5  # seconds without a leader after which the loop counts as failing
_LOOK = 0.1  # seconds between looks at a loop that is to end, as its thread may be lost


class Leadership:
    """The leadership of one thread.

    Attributes:
        token: identifies the work of the present step.
        since: the start of the present step, 0.0 between steps.
        over: whether another thread leads now.
        steps: how many steps have started.

    Threads: the thread that leads calls `begin` and `end`, and the thread that watches it calls `take_away`.
    """

    __slots__ = ("_lock", "over", "since", "steps", "token")

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.token = -1
        self.since = 0.0
        self.over = False
        self.steps = 0

    def begin(self, token: int) -> None:
        """Mark the beginning of a step that may take long."""
        with self._lock:
            self.token = token
            self.since = monotonic()
            self.steps += 1

    def end(self) -> bool:
        """Mark the end of the step and return whether this thread still leads."""
        with self._lock:
            self.since = 0.0
            return not self.over

    def take_away(self, since: float) -> bool:
        """End the leadership if the step that began at `since` is still running, and return whether it did."""
        with self._lock:
            if self.since != since:
                return False
            self.over = True
            return True


class LeaderFollower:
    """Runs a loop that goes on even if a step gets stuck, raises, or ends its thread.

    One thread leads, and another one watches it. Each of the two starts again if it ends by an exception.

    Args:
        name: of the threads.
        limit: number of threads that may be stuck at a time.
        patience: seconds that a step may take.

    Threads: any.
    """

    def __init__(self, *, name: str, limit: int, patience: float = 0.005) -> None:
        self._lead: Callable[[Leadership], None] | None = None
        self._on_stuck: Callable[[int], None] | None = None
        self._name = name
        self._limit = limit
        self._patience = patience
        self._lock = threading.Lock()  # guards the count of stuck threads and the change of leaders
        self._wake = Event()
        self._awake = False
        self._running = True
        self._stuck = 0
        self._done = Event()
        self._turn = Leadership(self._lock)
        self._steps = (self._turn, 0)  # that the watching thread has seen
        self._quiet_since = 0.0
        self._unled_since: float | None = None  # since when no thread leads, as the last leader is stuck or has ended
        self._logged = False  # whether the log says that no thread can be started
        self._guard = LoopGuard(name)
        self._watching = BackgroundLoop(f"{name}-watch", self._watch)
        self._leading: threading.Thread | None = None

    def start(self, lead: Callable[[Leadership], None], on_stuck: Callable[[int], None]) -> None:
        """Run a loop in a thread. May be called once.

        Args:
            lead: the loop. It gets its Leadership, marks its steps, and returns when its leadership is over or when
                there is nothing left to do. If it raises, it is called again.
            on_stuck: receives the token of a stuck step before the next thread leads.
        Raises: OverloadedError if the system cannot start a thread. Then none of its threads runs.
        """
        self._lead, self._on_stuck = lead, on_stuck
        try:
            self._watching.start()
            self._start_leader(self._turn)
        except BaseException:
            self._turn.over = True
            self._lead = None
            self._end_watching()
            raise

    def _start_leader(self, turn: Leadership) -> None:
        self._leading = start_thread(self._name, self._run, turn)

    @property
    def can_serve_inline(self) -> bool:
        """Whether a step that may get stuck may begin: a thread watches, and another could take over."""
        if not self._awake:
            self._wake.set()
            return False
        return self._stuck < self._limit and self._watching.running

    @property
    def stuck(self) -> int:
        """The number of threads with a stuck step."""
        return self._stuck

    @property
    def failures(self) -> int:
        """The number of failures of the loop and of the watching of its leader."""
        return self._guard.failures + self._watching.guard.failures

    @property
    def failing(self) -> bool:
        """Whether no thread has led for some time, as the system cannot start one."""
        since = self._unled_since
        return since is not None and monotonic() - since >= _TOLERANCE

    def join(self) -> None:
        """Wait until the loop has returned by itself, and end the watching thread. Do not wait for stuck steps."""
        if self._lead is None:
            return
        while not self._done.wait(_LOOK):
            if self._take_lead():
                self._run(self._turn)  # the end of the loop needs no thread of its own
        self._end_watching()
        if self._leading is not None:
            self._leading.join()

    def _end_watching(self) -> None:
        self._running = False
        self._wake.set()
        self._watching.stop(None)

    def _run(self, turn: Leadership) -> None:
        assert self._lead is not None
        ended = False
        try:
            while not (ended or turn.over):
                try:
                    self._lead(turn)
                    ended = True
                except BaseException as error:
                    self._guard.note(error)
        finally:
            self._leave(turn, ended)

    def _leave(self, turn: Leadership, ended: bool) -> None:
        """Let another thread lead, unless the loop has returned by itself."""
        with self._lock:
            if turn.over:
                self._stuck -= 1
            elif ended:
                self._done.set()
            else:
                self._unled_since = monotonic()
        self._wake.set()
        self._watching.restart()  # if it has lost its thread

    # the watching thread

    def _watch(self) -> None:
        if self._awake:
            sleep(self._patience)
        elif self._wake.wait(_SLEEP):
            self._wake.clear()
            self._awake = True
            self._quiet_since = monotonic()
        if not self._running:
            return
        if not self._awake:
            self._notice_lost_leader()
            return
        if self._unled_since is None:
            self._check(self._turn)
        if self._unled_since is not None:
            self._replace_leader()
        turn = self._turn
        if self._steps != (turn, turn.steps):
            self._quiet_since, self._steps = monotonic(), (turn, turn.steps)
        elif monotonic() - self._quiet_since > _QUIET:
            # A step that has started meanwhile may have found this thread awake and rely on it. The step begins with
            # the lock held, and looks after that. So either it is counted here, or it finds this thread asleep.
            with self._lock:
                counted = self._steps == (self._turn, self._turn.steps)
                self._awake = not counted or self._unled_since is not None

    def _notice_lost_leader(self) -> None:
        """Have the leader replaced if an exception has ended its thread where no code could see that."""
        leading = self._leading
        if leading is not None and not leading.is_alive() and not self._done.is_set():
            with self._lock:
                self._unled_since = self._unled_since or monotonic()
            self._wake.set()

    def _check(self, turn: Leadership) -> None:
        """End the leadership of a thread that is stuck in its step."""
        since = turn.since
        if not since or monotonic() - since < self._patience or not turn.take_away(since):
            return
        with self._lock:
            self._stuck += 1
            self._unled_since = monotonic()
            self._leading = None
        assert self._on_stuck is not None
        try:
            self._on_stuck(turn.token)
        except BaseException as error:  # a connection may be lost, but the loop goes on
            self._guard.note(error)

    def _replace_leader(self) -> None:
        """Start the next leader. If the system cannot start a thread, the next step of the watching thread tries.

        Until one has started, no thread leads: `failing` must not look otherwise in between.
        """
        with self._lock:
            if self._unled_since is None:
                return
            turn = self._turn = Leadership(self._lock)
            try:
                self._start_leader(turn)
            except BaseException as error:
                turn.over = True  # if the thread runs all the same, it does nothing
                if not isinstance(error, OverloadedError):
                    raise
                cause = error.__cause__
            else:
                self._unled_since = None
                self._logged = False
                return
        if not self._logged:
            self._logged = True
            _log.error("cannot start the thread that watches the connections: %s", cause)

    def _take_lead(self) -> bool:
        """Make a new leadership for the calling thread if no thread leads. Return whether none did."""
        with self._lock:
            unled = self._unled_since is not None
            if unled:
                self._unled_since = None
                self._turn = Leadership(self._lock)
            return unled
