"""ThreadRunner: runs code in the threads of the callers.

Trusted code runs in contexts that stay warm. Code that WebAssembly isolates gets a new context for each call.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from ..._internal.at_fork import renew_after_fork
from ..._internal.conditions import Condition, Place
from ..._internal.counter import Counter
from ...errors import OverloadedError
from ..engine import Engine, EngineError, Host
from ..limits import Limits
from ..program import Program
from .runner import PoolSettings, Runner

__all__ = ["ThreadRunner"]

_MAX_HANDLES = 64  # compiled programs of one engine
#: Stages after which a context is as good as before.
_HARMLESS = frozenset(("execute", "convert", "host"))


class _Slot(Place[None]):
    """The place of an engine with its compiled programs. One thread uses it at a time."""

    __slots__ = ("engine", "handles")

    engine: Engine

    def __init__(self, lost: deque[None]) -> None:
        super().__init__(lost, None)
        # each with whether its calls may leave promise jobs behind
        self.handles: OrderedDict[str, tuple[Any, bool]] = OrderedDict()

    def load(self, program: Program, limits: Limits) -> tuple[Any, bool]:
        handle = self.engine.compile(program, limits)
        found = self.handles[program.digest] = handle, self.engine.may_leave_jobs(handle)
        if len(self.handles) > _MAX_HANDLES:
            self.engine.release(self.handles.popitem(last=False)[1][0])
        return found

    def drop(self, program: Program) -> None:
        found = self.handles.pop(program.digest, None)
        if found is not None:
            self.engine.release(found[0])

    def close(self) -> None:
        for handle, _ in self.handles.values():
            self.engine.release(handle)
        self.handles.clear()
        self.engine.close()


class ThreadRunner(Runner):
    """Runs each call in the calling thread.

    Args:
        make_engine: returns a new engine.
        settings: `max_size` bounds the engines, thus the calls that run at a time.
        isolation: "thread" for contexts that stay warm, "wasm" for a new one for each call.

    Threads: any. Fork: a forked process makes engines of its own.
    """

    def __init__(self, make_engine: Callable[[], Engine], settings: PoolSettings, *, isolation: str = "thread") -> None:
        self.isolation = isolation
        self._is_warm = isolation == "thread"
        self._make_engine = make_engine
        self._settings = settings
        self.closed = False
        self._reset()
        renew_after_fork(self)

    def _reset(self) -> None:
        self._changed = Condition()  # guards the attributes below
        self._idle: list[_Slot] = []
        self._lost: deque[None] = deque()  # places of slots that nobody has given back
        self._slots = self._waiting = self._discarded = 0
        self._calls = Counter()
        self._count = self._calls.add

    def after_fork(self) -> None:
        """Start anew; called in a forked process."""
        self._reset()

    def run(self, program: Program, text: str, limits: Limits, host: Host, wait: float | None) -> str:
        """Make one call in this thread; see `Runner.run`."""
        self._count()
        try:
            slot = self._idle.pop()  # one operation, so that it needs no lock
        except IndexError:
            made = _Slot(self._lost)
            try:
                slot = self._take(made, monotonic() + (limits.time if wait is None else wait))
            except BaseException:
                self._give_up(made)
                raise
        usable = False
        try:
            engine = slot.engine
            handle, leaves_jobs = slot.handles.get(program.digest) or slot.load(program, limits)
            try:
                reply = engine.call(handle, text, limits, host) if text else ""
            finally:
                if text and engine.fuel is not None:
                    host("fuel", str(engine.fuel))
            if not self._is_warm or (leaves_jobs and not engine.settle(handle, limits)):
                slot.drop(program)
            usable = True
            return reply
        except EngineError as error:
            if not self._is_warm or error.stage not in _HARMLESS:
                slot.drop(program)
            usable = not error.broken
            raise
        finally:
            if usable:
                self._idle.append(slot)  # one operation, so that it needs no lock
                if self._waiting or self.closed:
                    self._tell()
            else:
                self._discard(slot)

    def _take(self, made: _Slot, end: float) -> _Slot:
        """Return an idle slot, or `made` with a new engine."""
        idle = self._wait_for(made, end)
        if idle is not None:
            return idle
        made.engine = self._make_engine()
        return made

    def _give_up(self, made: _Slot) -> None:
        with self._changed:
            self._forget(made)
            self._changed.notify()

    def _wait_for(self, made: _Slot, end: float) -> _Slot | None:
        """Return an idle slot, or None if `made` has got the place of a new engine."""
        with self._changed:
            # counted before the look at the idle ones, as a slot is given back without the lock
            self._waiting += 1
            try:
                while not self._idle:
                    if self.closed:
                        raise EngineError("host", "the portal is closed")
                    while self._lost:
                        self._lost.popleft()
                        self._slots -= 1
                    if self._slots < self._settings.max_size:
                        self._slots += 1
                        made.is_held = True
                        return None
                    self._wait(end - monotonic())
                return self._idle.pop()
            finally:
                self._waiting -= 1

    def _forget(self, slot: _Slot) -> None:
        """Give the place of a slot back. The lock is held."""
        if slot.is_held:
            self._slots -= 1
            slot.is_held = False

    def _wait(self, left: float) -> None:
        busy = f"all {self._settings.max_size} JavaScript contexts are busy"
        others = self._waiting - 1
        if others >= self._settings.max_waiting:
            raise OverloadedError(f"{busy} and {others} calls wait", retry_after=1.0)
        if left <= 0 or not self._changed.wait(left):
            raise OverloadedError(busy, retry_after=1.0)

    def _tell(self) -> None:
        """Tell of a slot that is idle again."""
        with self._changed:
            self._changed.notify()
        if self.closed:
            self.close()  # it may have been closed before the slot was there

    def _discard(self, slot: _Slot) -> None:
        with self._changed:
            self._forget(slot)
            self._discarded += 1
            self._changed.notify()
        slot.close()

    def measures(self) -> list[str]:
        """Return nothing: the code runs in this process."""
        return []

    def stats(self) -> dict[str, int]:
        """Return the numbers of engines, and of those discarded so far."""
        with self._changed:
            return {
                "calls": self._calls.value,
                "engines": self._slots,
                "idle": len(self._idle),
                "waiting": self._waiting,
                "discarded": self._discarded,
            }

    def close(self) -> None:
        """Free the idle engines now, and each other one after its call. May be called twice."""
        idle = []
        with self._changed:
            self.closed = True
            while self._idle:
                with suppress(IndexError):  # another thread took it without the lock
                    idle.append(self._idle.pop())
                    self._forget(idle[-1])
            self._changed.notify_all()
        for slot in idle:
            slot.close()
