"""LeaderFollower: one thread at a time runs a loop, and another one takes over while a step is stuck.

Under CPython's lock, a short call is served fastest by the thread that has read it. To hand it to another thread costs
two context switches, which is several times the cost of the call. But the reading thread also watches all other
connections. So a step that does not end in time keeps its thread, and a new thread continues the loop.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import monotonic, sleep

from ..._internal.log import get_logger

__all__ = ["LeaderFollower", "Leadership"]

_log = get_logger("portal.serving")
_QUIET = 1.0  # seconds without a step after which the watching thread sleeps until it is woken


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
    """Runs a loop that goes on even if a step gets stuck.

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
        self._wake = threading.Event()
        self._awake = False
        self._running = True
        self._stuck = 0
        self._done = threading.Event()
        self._turn = Leadership(self._lock)
        self._watching: threading.Thread | None = None
        self._leading: threading.Thread | None = None

    def start(self, lead: Callable[[Leadership], None], on_stuck: Callable[[int], None]) -> None:
        """Run a loop in a thread. May be called once.

        Args:
            lead: the loop. It gets its Leadership, marks its steps, and returns when its leadership is over or when
                there is nothing left to do.
            on_stuck: receives the token of a stuck step before the next thread leads.
        """
        self._lead, self._on_stuck = lead, on_stuck
        self._watching = threading.Thread(target=self._watch, name=f"{self._name}-watch", daemon=True)
        self._watching.start()
        self._start_leader(self._turn)

    def _start_leader(self, turn: Leadership) -> None:
        leading = threading.Thread(target=self._run, args=(turn,), name=self._name, daemon=True)
        leading.start()
        self._leading = leading

    @property
    def can_serve_inline(self) -> bool:
        """Whether a step that may get stuck may begin: a thread watches, and another could take over."""
        if not self._awake:
            self._wake.set()
            return False
        return self._stuck < self._limit

    @property
    def stuck(self) -> int:
        """How many threads have a stuck step."""
        return self._stuck

    def join(self) -> None:
        """Wait until the loop has returned by itself, and end the watching thread."""
        if self._watching is None:
            return
        self._done.wait()
        self._running = False
        self._wake.set()
        self._watching.join()
        if self._leading is not None:
            self._leading.join()

    def _run(self, turn: Leadership) -> None:
        assert self._lead is not None
        try:
            self._lead(turn)
        finally:
            with self._lock:
                if turn.over:
                    self._stuck -= 1
                else:
                    self._done.set()

    def _watch(self) -> None:
        quiet_since, steps = monotonic(), (self._turn, 0)
        while self._running:
            if self._awake:
                sleep(self._patience)
            else:
                self._wake.wait()
                self._wake.clear()
                self._awake = True
                quiet_since = monotonic()
            turn = self._turn
            self._check(turn)
            if steps != (turn, turn.steps):
                quiet_since, steps = monotonic(), (turn, turn.steps)
            elif monotonic() - quiet_since > _QUIET:
                self._awake = False
                # A step that has started meanwhile found this thread awake and relies on it. So each side first
                # publishes its own state and then reads the other's.
                if steps != (self._turn, self._turn.steps):
                    self._awake = True

    def _check(self, turn: Leadership) -> None:
        since = turn.since
        if not since or monotonic() - since < self._patience or not turn.take_away(since):
            return
        with self._lock:
            self._stuck += 1
        following = self._turn = Leadership(self._lock)
        assert self._on_stuck is not None
        self._on_stuck(turn.token)
        self._start_following(following)

    def _start_following(self, turn: Leadership) -> None:
        """Start the next leader. Retry for as long as the system cannot start a thread, as there is no leader."""
        logged = False
        while True:
            try:
                self._start_leader(turn)
            except RuntimeError as error:
                if sys.is_finalizing():  # from CPython 3.12 on no thread can start then
                    return
                if not logged:
                    logged = True
                    _log.error("cannot start the thread that watches the connections: %s", error)
                sleep(self._patience)
            else:
                return
