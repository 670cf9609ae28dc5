"""LeaderFollower: one thread at a time runs a loop, and another takes over while a step of it is stuck.

Under CPython's lock a short call is served fastest by the very thread that has read it: handing it to another
costs two context switches, several times what the call itself costs. But that thread also watches every other
connection. So a step that does not end in time keeps its thread, and the loop goes on in a new one.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from time import monotonic, sleep

__all__ = ["LeaderFollower", "Leadership"]

_log = logging.getLogger("portal.serving")
_QUIET = 1.0  # seconds without a step after which the watching thread sleeps for good


class Leadership:
    """The leadership of one thread.

    Attributes:
        token: what the present step works on.
        since: when it began, 0.0 between steps.
        over: another thread leads now.
    """

    __slots__ = ("_lock", "over", "since", "steps", "token")

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.token = -1
        self.since = 0.0
        self.over = False
        self.steps = 0

    def begin(self, token: int) -> None:
        """A step begins that may take long."""
        self.token = token
        self.since = monotonic()
        self.steps += 1

    def end(self) -> bool:
        """The step is done; whether this thread still leads."""
        with self._lock:
            self.since = 0.0
            return not self.over


class LeaderFollower:
    """Keeps a loop going.

    Args:
        lead: the loop; it is given its Leadership, marks its steps, and returns when its turn is over or all is done.
        overtaken: told of the token of a step that is stuck, before the next thread leads.
        patience: seconds that a step may take.
        limit: how many stuck threads there may be.

    Threads: any.
    """

    def __init__(
        self,
        lead: Callable[[Leadership], None],
        overtaken: Callable[[int], None],
        *,
        name: str,
        limit: int,
        patience: float = 0.005,
    ) -> None:
        self._lead = lead
        self._overtaken = overtaken
        self._name = name
        self._limit = limit
        self._patience = patience
        self._lock = threading.Lock()  # guards the handing over of the turn
        self._wake = threading.Event()
        self._awake = False
        self._running = True
        self._stuck = 0
        self._done = threading.Event()
        self._turn = Leadership(self._lock)
        self._watching = threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True)
        self._watching.start()
        self._start(self._turn)

    def _start(self, turn: Leadership) -> None:
        leading = threading.Thread(target=self._run, args=(turn,), name=self._name, daemon=True)
        leading.start()
        self._leading = leading

    @property
    def can_serve_inline(self) -> bool:
        """Whether a step that might get stuck may be begun: somebody watches, and a thread could take over."""
        if not self._awake:
            self._wake.set()
            return False
        return self._stuck < self._limit

    @property
    def stuck(self) -> int:
        """Threads whose step is stuck."""
        return self._stuck

    def join(self) -> None:
        """Wait until the loop has returned by itself, and end the watching thread."""
        self._done.wait()
        self._running = False
        self._wake.set()
        self._watching.join()
        self._leading.join()

    def _run(self, turn: Leadership) -> None:
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
            self._look(turn)
            if steps != (turn, turn.steps):
                quiet_since, steps = monotonic(), (turn, turn.steps)
            elif monotonic() - quiet_since > _QUIET:
                self._awake = False
                # A step that began meanwhile found this thread awake and relies on it: each side first says what it
                # does and then looks at the other.
                if steps != (self._turn, self._turn.steps):
                    self._awake = True

    def _look(self, turn: Leadership) -> None:
        since = turn.since
        if not since or monotonic() - since < self._patience:
            return
        with self._lock:
            if turn.since != since:
                return
            turn.over = True
            self._stuck += 1
            following = self._turn = Leadership(self._lock)
        self._overtaken(turn.token)
        self._start_at_last(following)

    def _start_at_last(self, turn: Leadership) -> None:
        """Start the next thread; while the system has none to give, nobody watches, so it is asked again and again."""
        said = False
        while True:
            try:
                self._start(turn)
            except RuntimeError as error:
                if sys.is_finalizing():  # from CPython 3.12 on there are no more threads then, and nobody to serve
                    return
                if not said:
                    said = True
                    _log.error("no thread can be started to watch the connections: %s", error)
                sleep(self._patience)
            else:
                return
