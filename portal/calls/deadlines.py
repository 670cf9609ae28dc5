"""Deadlines: let the caller continue in time although the function has not returned.

A Python thread cannot be interrupted, so another thread must respond at the deadline. There are two ways. If the
caller's own thread waits, the function runs in a worker and the caller stops waiting (`wait_for`). If a server's worker
runs the function itself, a DeadlineWatch responds in its place, so that an ordinary call needs no hand-over between
threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from time import monotonic
from typing import Any

from .._internal.at_fork import renew_after_fork
from .._internal.background import BackgroundLoop
from .._internal.conditions import Condition
from .._internal.log import get_logger
from .._internal.shutdown import raise_if_shutting_down
from ..context import CallContext
from ..errors import CallCancelled, CallTimeout, OverloadedError
from ..errors.failure import is_raised_by_signal

__all__ = [
    "DeadlineWatch",
    "StreamProgress",
    "cancelled_error",
    "expired_error",
    "limit_deadline",
    "timeout_error",
    "uncalled_error",
    "wait_for",
]

_log = get_logger("portal.calls")
_EARLY = 0.05  # seconds by which a wait for a deadline may end too early


def limit_deadline(context: CallContext, limit: float) -> None:
    """Give a context the deadline `limit`, a `time.monotonic()` moment, unless it has an earlier one."""
    if context.deadline is None or limit < context.deadline:
        context.deadline = limit
        context.watched = False


def timeout_error(context: CallContext, name: str, timeout: float | None = None) -> CallTimeout:
    """Return the error for a call of `name` that has passed its deadline, on either side of a transport.

    Args:
        context: the context of the call.
        name: the function or address, for the message.
        timeout: seconds that the call was given, where known.
    """
    after = "in time" if timeout is None else f"within {timeout:.2g} s"
    return CallTimeout(
        f"{name} did not respond {after}; it may still be running",
        timeout=timeout,
        context={"request_id": context.request_id},
    )


class StreamProgress:
    """How far a stream has come, for the message of its CallTimeout.

    Args:
        context: the context of the call, at its start.
        name: the function or address.

    Attributes:
        items: number of the items so far.

    Threads: one counts; any may read.
    """

    __slots__ = ("_context", "_name", "_timeout", "items")

    def __init__(self, context: CallContext, name: str) -> None:
        self._context = context
        self._name = name
        self._timeout = context.remaining()
        self.items = 0

    def timeout_error(self) -> CallTimeout:
        """Return the error for the stream, which has passed its deadline, or a shorter time limit between two items."""
        context, timeout = self._context, self._timeout
        left = context.remaining()
        if left is not None and left < _EARLY:
            words = f"did not end {'in time' if timeout is None else f'within {timeout:.2g} s'}"
        else:
            timeout, words = None, "did not continue in time"
        after = f"after {self.items} item{'' if self.items == 1 else 's'}"
        return CallTimeout(
            f"the stream of {self._name} {words}, {after}; it may still be running",
            timeout=timeout,
            context={"request_id": context.request_id},
        )


def uncalled_error(context: CallContext, name: str, hint: str = "the function was not called") -> CallTimeout:
    """Return the error for a call of `name` that could not be sent before its deadline.

    Args:
        hint: why it was not sent, or what that means.
    """
    return CallTimeout(
        f"{name} did not respond in time",
        delivery="not_sent",
        hint=hint,
        context={"request_id": context.request_id},
    )


def expired_error(context: CallContext, name: str) -> CallTimeout:
    """Return the error for a call of `name` whose deadline passed before it was sent or run."""
    return CallTimeout(
        f"{name} was not called: the deadline had already passed",
        delivery="not_sent",
        context={"request_id": context.request_id},
    )


def cancelled_error(context: CallContext) -> CallCancelled:
    """Return the error for a call that its caller has cancelled."""
    return CallCancelled("the caller cancelled the call", context={"request_id": context.request_id})


def wait_for(
    future: Future[Any], context: CallContext, name: str, late: Callable[[], CallTimeout] | None = None
) -> Any:
    """Return the result of a future, waiting until the deadline of the context.

    Args:
        future: the call, which runs in a worker.
        context: the context of the call; it is cancelled at its deadline.
        name: the function, for the messages.
        late: makes the error for the deadline; None for that of a call.

    Raises: what the call raises; CallTimeout at the deadline; CallCancelled if the future was cancelled.
    """
    timeout = context.remaining()
    try:
        return future.result(timeout)
    except FutureTimeout as error:
        if is_raised_by_signal(error):
            _give_up(future, context)
            raise
        if future.done() and not future.cancelled() and future.exception() is error:
            raise  # the function itself raised a TimeoutError
        _give_up(future, context)
        raise (timeout_error(context, name, timeout) if late is None else late()) from None
    except CancelledError:
        raise CallCancelled(f"the call of {name} was cancelled before it started") from None
    except BaseException:
        if not future.done():  # a signal stopped the caller, which no longer needs the result
            _give_up(future, context)
        raise
    finally:
        del future  # else the exception that it has and this frame refer to each other


def _give_up(future: Future[Any], context: CallContext) -> None:
    future.cancel()
    context.cancel()


class DeadlineWatch:
    """Run a callback at the deadline of each call that is still running, in one thread for all calls.

    The number of entries is bounded by the threads that run the calls. A callback runs in the thread of the watch and
    must not block.

    Args:
        clock: seconds, as `time.monotonic`.

    Threads: any may add and discard. After a fork, the child's watch starts a thread of its own.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._loop = BackgroundLoop("portal-deadlines", self._wait_and_fire)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start with no entries; called by `__init__`, and in a child process after a fork, which has no thread."""
        # Guards the attributes below. A finaliser that the garbage collector runs meanwhile may make a call.
        self._lock = threading.RLock()
        self._wake = Condition(self._lock)
        self._entries: dict[object, tuple[float, Callable[[], object]]] = {}
        self._next = float("inf")
        self._closed = False

    def add(self, deadline: float, callback: Callable[[], object]) -> object:
        """Arrange for `callback` to run once at `deadline`.

        Args:
            deadline: a moment of the clock.
            callback: runs in the thread of the watch; it must not block.

        Returns: a token for `discard`.
        Raises: OverloadedError when the system cannot start the thread. PortalError while the interpreter ends.
        """
        token = object()
        with self._lock:
            self._entries[token] = (deadline, callback)
            if deadline < self._next:
                self._next = deadline
                self._wake.notify()
        if not self._loop.running:
            try:
                self._start()
            except OverloadedError as error:
                self.discard(token)
                raise_if_shutting_down(error)
                message = f"no thread can be started to enforce the deadline: {error.__cause__}"
                raise OverloadedError(message, retry_after=1.0) from error
            except BaseException:
                self.discard(token)
                raise
        return token

    def discard(self, token: object) -> bool:
        """Remove an entry, so that its callback does not run. Return whether it was still pending."""
        return self._entries.pop(token, None) is not None  # one step, which needs no lock

    def _start(self) -> None:
        if not self._closed:
            self._loop.start()

    def _wait_and_fire(self) -> None:
        with self._wake:
            if self._closed:
                return
            left = self._next - self._clock()
            if left > 0:
                self._wake.wait(min(left, 3600.0))
                return
            self._next = float("inf")
        try:
            self.fire_due()
        except BaseException:
            with self._lock:
                self._next = 0.0  # some have not been looked at: the next step does it
            raise

    def fire_due(self) -> None:
        """Run the callback of every entry whose deadline has passed, and find the next deadline."""
        now = self._clock()
        soonest = float("inf")
        with self._lock:
            entries = self._entries.copy()
        for token, (deadline, callback) in entries.items():
            if deadline > now:
                soonest = min(soonest, deadline)
            elif self.discard(token):
                _run_callback(callback)
        with self._lock:
            self._next = min(self._next, soonest)

    def close(self) -> None:
        """End the thread. The callbacks of entries that are left never run."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._loop.stop()


def _run_callback(callback: Callable[[], object]) -> None:
    try:
        callback()
    except BaseException:  # without this thread no later deadline would be enforced
        _log.exception("responding to a call at its deadline failed")
