"""Deadlines: who answers the caller when the function has not.

A Python thread cannot be interrupted, so a deadline means that somebody else answers. Where the caller's own thread
waits, the function runs in a worker and the caller stops waiting (`wait_for`). Where a server's worker runs the
function itself, a DeadlineWatch answers in its place, so that an ordinary call pays for no hand-over between threads.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from time import monotonic
from typing import Any

from .._internal.at_fork import renew_after_fork
from ..context import CallContext
from ..errors import CallCancelled, CallTimeout, OverloadedError

__all__ = ["DeadlineWatch", "expired_error", "timeout_error", "wait_for"]

_log = logging.getLogger("portal.calls")


def timeout_error(context: CallContext, name: str, timeout: float | None = None) -> CallTimeout:
    """The error that every side raises for a call of `name` that is past its deadline."""
    after = " in time" if timeout is None else f" within {timeout:.2g} s"
    return CallTimeout(
        f"{name} did not answer{after}; it may still be running",
        timeout=timeout,
        context={"request_id": context.request_id},
    )


def expired_error(context: CallContext, name: str) -> CallTimeout:
    """The error for a call of `name` that was past its deadline before anything was sent."""
    return CallTimeout(
        f"{name} was not called: the deadline had passed before",
        delivery="not_sent",
        context={"request_id": context.request_id},
    )


def wait_for(future: Future[Any], context: CallContext, name: str) -> Any:
    """The future's result, or CallTimeout at the context's deadline; the context is cancelled then."""
    timeout = context.remaining()
    try:
        return future.result(timeout)
    except FutureTimeout as error:
        if future.done() and not future.cancelled() and future.exception() is error:
            raise  # the function's own TimeoutError, not ours
        future.cancel()
        context.cancel()
        raise timeout_error(context, name, timeout) from None
    except CancelledError:
        raise CallCancelled(f"the call of {name} was cancelled before it began") from None
    except KeyboardInterrupt:  # or another signal's: the caller has gone, and nobody wants the answer
        future.cancel()
        context.cancel()
        raise


class DeadlineWatch:
    """One thread that calls back at the deadline of each call that still runs.

    The set of watched calls is bounded by the threads that run them. A callback runs in the watching thread and must
    not block. Threads: any may add and discard. Fork: the child's watch starts a thread of its own.

    Args:
        clock: seconds, as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Begin without entries and without a thread; a child process does so by itself."""
        self._wake = threading.Condition()  # guards the thread and its next moment, not the entries
        self._entries: dict[object, tuple[float, Callable[[], object]]] = {}
        self._next = float("inf")
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, deadline: float, callback: Callable[[], object]) -> object:
        """Call `callback` once at `deadline` unless the token this gives is discarded first.

        Raises: OverloadedError when the system has no thread to watch with.
        """
        token = object()
        self._entries[token] = (deadline, callback)
        if deadline < self._next or self._thread is None:
            try:
                self._hurry(deadline)
            except RuntimeError as error:  # the system has no thread to give
                self._entries.pop(token, None)
                raise OverloadedError(f"nobody can watch the deadline: {error}", retry_after=1.0) from error
        return token

    def discard(self, token: object) -> bool:
        """Whether the callback was still to come; it will not come any more."""
        return self._entries.pop(token, None) is not None

    def _hurry(self, deadline: float) -> None:
        with self._wake:
            self._next = min(self._next, deadline)
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name="portal-deadlines", daemon=True)
                thread.start()
                self._thread = thread
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._closed:
                    return
                left = self._next - self._clock()
                if left > 0:
                    self._wake.wait(min(left, 3600.0))
                    continue
                self._next = float("inf")
            self.fire_due()

    def fire_due(self) -> None:
        """Call back for every entry whose deadline has passed, and note the next one."""
        now = self._clock()
        soonest = float("inf")
        # `copy` is one step. `list(items())` makes a tuple for each, so the garbage collector may run in the middle of
        # it, and in what that runs another thread may add (CPython 3.11).
        for token, (deadline, callback) in self._entries.copy().items():
            if deadline > now:
                soonest = min(soonest, deadline)
            elif self._entries.pop(token, None) is not None:
                _call_back(callback)
        with self._wake:
            self._next = min(self._next, soonest)

    def close(self) -> None:
        """End the thread; entries that are left never fire."""
        with self._wake:
            self._closed = True
            thread = self._thread
            self._wake.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)


def _call_back(callback: Callable[[], object]) -> None:
    try:
        callback()
    except BaseException:  # what ends this thread would end every later deadline
        _log.exception("answering a call at its deadline failed")
