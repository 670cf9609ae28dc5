"""InterpreterPool: run functions in interpreters of this process, each with a GIL of its own (PEP 734, CPython 3.14).

An interpreter starts faster than a process and shares its memory, but it cannot be ended during a call. It loads only
modules that allow that; jsonschema-rs does not. So `portal.function` is replaced there by a decorator that changes
nothing, since parameters and results are validated in the main interpreter.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.executor import WorkerPool
from .._internal.processors import count_processors
from .._internal.settings import count, whole_number
from ..context import CallContext
from ..errors import ConfigError
from .child import run_packed
from .futures import wait_for_job
from .jobs import Job, pack, unpack

__all__ = ["InterpreterPool"]

_START = """
import sys, types
sys.path[:] = {path!r}
def function(target=None, /, **options):
    return target if target is not None else lambda target: target
stand_in = types.ModuleType("portal.function")
stand_in.__path__ = [{folder!r}]
stand_in.function, stand_in.Function = function, type("Function", (), {{}})
sys.modules["portal.function"] = stand_in
import portal
portal.function = function
"""


class InterpreterPool:
    """Run functions in interpreters of their own, so that they use all processors. It needs CPython 3.14 or later.

    A call that is cancelled or late ends for its caller. The function runs on and occupies its interpreter until it
    returns. Use a ProcessPool for functions that may hang.

    Args:
        workers: number of interpreters; None takes the number of processors.
        queue: maximum number of calls that wait for an interpreter.

    Raises: ConfigError for a wrong bound, and on an earlier CPython.

    Threads: any. Fork: a child makes interpreters of its own.
    """

    def __init__(self, workers: int | None = None, queue: int = 256) -> None:
        self.workers = count("interpreters.workers", workers, optional=True) or count_processors()
        self.queue = whole_number("interpreters.queue", queue, minimum=0)
        if find_spec("concurrent.interpreters") is None:
            found = f"{sys.version_info[0]}.{sys.version_info[1]}"
            message = f'executor="interpreters" needs CPython 3.14 or later, got {found}'
            raise ConfigError(message, path="interpreters", hint='use "processes"')
        self._interpreters: Any = import_module("concurrent.interpreters")
        self._threads = WorkerPool(self.workers, self.queue, name="portal-interpreter")
        self._lock = new_lock()  # guards the attribute below
        self._made: list[Any] = []
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without interpreters; called by `__init__`, and in a child process after a fork."""
        self._made = []
        self._idle: deque[Any] = deque()

    def run(self, job: Job, context: CallContext) -> object:
        """Run a job in an interpreter and return its result.

        Raises: CallTimeout, CallCancelled, OverloadedError, SerializationError.
        """
        data = pack(job)
        future = self._threads.submit(self._run_in_thread, data)
        return unpack(wait_for_job(job, future, context, "it runs on in its interpreter"))

    def _run_in_thread(self, data: bytes) -> bytes:
        try:
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = self._make()
        try:
            reply: bytes = interpreter.call(run_packed, data)
            return reply
        finally:
            self._idle.append(interpreter)

    def _make(self) -> Any:
        made = self._interpreters.create()
        folder = str(Path(__file__).parents[1] / "function")
        try:
            made.exec(_START.format(path=sys.path, folder=folder))
        except BaseException:
            made.close()
            raise
        with self._lock:
            self._made.append(made)
        return made

    def stats(self) -> dict[str, int]:
        """Return the numbers of interpreters, idle ones and waiting calls."""
        return {"interpreters": len(self._made), "idle": len(self._idle), "waiting": self._threads.waiting}

    def close(self) -> None:
        """End the interpreters that are idle, and reject calls. May be called twice."""
        self._threads.shutdown(wait=True, cancel_futures=True, timeout=5.0)
        while self._idle:
            with suppress(Exception):  # it runs something, in a thread that it has started
                self._idle.pop().close()
