"""Faults inside a running server, by seed: exceptions in its own functions, no threads, a full disk, failing log lines.

They happen in the threads of the package only. A controller arms one function after the other; the next call of it
raises, before its first statement.
"""

from __future__ import annotations

import errno
import functools
import importlib
import inspect
import logging
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

#: Classes by module, with the methods that are left out: they run in other threads than those of the package.
CLASSES: dict[str, dict[str, set[str]]] = {
    "serving.loop.reactor": {"Reactor": {"start", "end", "abandon", "abort_start", "stop_accepting"}},
    "serving.loop.leader": {"LeaderFollower": {"start", "join"}, "Leadership": set()},
    "serving.loop.upkeep": {"Upkeep": set()},
    "serving.loop.acceptor": {"Acceptor": {"close", "abandon"}},
    "serving.loop.scheduler": {"RequestScheduler": set()},
    "serving.loop.request_queue": {"RequestQueue": set()},
    "serving.loop.first_requests": {"FirstRequests": {"end"}},
    "serving.loop.busy_lane": {"BusyLane": {"leave"}},
    "serving.loop.processor_time": {"ProcessorTime": set()},
    "serving.loop.latency": {"LatencyTracker": set()},
    "serving.connections.table": {"ConnectionTable": {"abandon", "end"}},
    "serving.connections.connection": {"Connection": set()},
    "serving.connections.exchange": {"Exchange": set()},
    "serving.io.poller": {"_EpollPoller": {"close", "listen"}},
    "serving.io.output": {"Output": set()},
    "serving.messages.held_keys": {"HeldKeys": set()},
    "serving.messages.rejections": {"RejectionLog": set()},
    "_internal.executor": {"WorkerPool": {"after_fork", "shutdown"}},
    "_internal.background": {"BackgroundLoop": {"after_fork", "stop"}, "LoopGuard": set()},
    "calls.deadlines": {"DeadlineWatch": {"after_fork", "close"}},
    "calls.stream_worker": {"StreamWorker": set()},
    "calls.workers": {"DispatchWorkers": {"after_fork", "close"}},
    "calls.dispatcher": {"Dispatcher": {"close"}},
    "idempotency.shared": {"SharedOutcomes": {"after_fork", "close"}},
    "idempotency.middleware": {"Idempotency": {"close", "bind_namespace"}},
    "http.middleware.gathered_file": {"GatheredFile": {"after_fork", "close"}},
    "http.middleware.log_file": {"LogFile": {"close"}},
    "http.server.app": {"HTTPApp": set()},
}
ERRORS: list[Callable[[], BaseException]] = [
    MemoryError,
    lambda: RuntimeError("injected"),
    lambda: OSError(errno.ENOSPC, "No space left on device"),
    lambda: KeyError("injected"),
    RecursionError,
    lambda: SystemExit(1),
]
_PATIENCE = 0.03  # seconds for which a function is armed; some are rarely called


def _is_ours() -> bool:
    return threading.current_thread().name.startswith("portal-")


class Faults:
    """Injects faults.

    Args:
        seed: decides which function raises what, and when there are no threads and no disk space.
        undo: names of methods that put something back; they do not raise, since nothing could put that back then.
        classes: as `CLASSES`.

    Threads: `run` is for one thread; the faults happen in others.
    """

    def __init__(self, seed: int, undo: set[str], classes: dict[str, dict[str, set[str]]] = CLASSES) -> None:
        self.fired: Counter[str] = Counter()
        self.order: list[tuple[float, str, str, str]] = []  # moment, function, error, thread
        self._random = random.Random(seed)
        self._undo = undo
        self._classes = classes
        self._armed: dict[str, BaseException] = {}
        self._targets: list[str] = []
        self._no_threads = self._no_space = self._no_log = False
        self._over = threading.Event()

    def install(self) -> None:
        """Replace the functions. Call this before the server is made."""
        for module_name, classes in self._classes.items():
            module = importlib.import_module(f"portal.{module_name}")
            for class_name, left_out in classes.items():
                cls = getattr(module, class_name)
                for name, function in list(vars(cls).items()):
                    if inspect.isfunction(function) and not name.startswith("__") and name not in left_out | self._undo:
                        self._replace(cls, name, function)
        self._replace_threads()
        self._replace_write()
        logging.getLogger().addHandler(_Failing(self))

    def _replace(self, cls: type, name: str, function: Callable[..., Any]) -> None:
        target, armed = f"{cls.__name__}.{name}", self._armed
        self._targets.append(target)

        @functools.wraps(function)
        def replaced(*args: Any, **options: Any) -> Any:
            if target in armed and _is_ours():
                error = armed.pop(target, None)
                if error is not None:
                    self.fired[target] += 1
                    self.order.append((monotonic(), target, type(error).__name__, threading.current_thread().name))
                    args, options = (), {}  # otherwise the traceback would keep alive what a call without memory drops
                    raise error
            return function(*args, **options)

        setattr(cls, name, replaced)

    def _replace_threads(self) -> None:
        start = threading.Thread.start

        def replaced(thread: threading.Thread) -> None:
            if self._no_threads and thread.name.startswith("portal-"):
                self.fired["no thread"] += 1
                raise RuntimeError("can't start new thread")
            start(thread)

        threading.Thread.start = replaced  # type: ignore[method-assign]

    def _replace_write(self) -> None:
        from portal.http.middleware import log_file

        write = os.write

        def replaced(fd: int, data: bytes) -> int:
            if self._no_space and _is_ours():
                self.fired["no space"] += 1
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, data)

        class System:
            """The module os as the log files see it."""

            def __getattr__(self, name: str) -> Any:
                return replaced if name == "write" else getattr(os, name)

        log_file.os = System()  # type: ignore[assignment]

    def fails_to_log(self) -> bool:
        """Return whether a log line fails now."""
        if self._no_log and _is_ours():
            self.fired["log"] += 1
            return True
        return False

    def run(self, seconds: float, together: int = 1) -> None:
        """Inject faults for some seconds.

        Args:
            together: how many functions are armed at a time.
        """
        end = monotonic() + seconds
        targets = self._in_turn()
        while (now := monotonic()) < end:
            dice = self._random.random()
            self._no_threads, self._no_space, self._no_log = dice < 0.1, 0.1 <= dice < 0.2, dice > 0.7
            chosen = [next(targets) for _ in range(together)]
            self._armed.update((target, self._random.choice(ERRORS)()) for target in chosen)
            until = now + _PATIENCE * together
            while self._armed and monotonic() < until:
                self._over.wait(0.002)
            self._armed.clear()
        self._no_threads = self._no_space = self._no_log = False

    def _in_turn(self) -> Iterator[str]:
        while True:
            self._random.shuffle(self._targets)
            yield from self._targets


class _Failing(logging.Handler):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def handle(self, record: logging.LogRecord) -> bool:
        if self._faults.fails_to_log():
            raise MemoryError
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Do nothing: others write the line."""
