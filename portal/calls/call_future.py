"""CallFuture: the future of a call, whose `cancel` also cancels the call in progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .._internal.conditions import PoolFuture
from ..context import CallContext

__all__ = ["CallFuture", "submit_call"]


class CallFuture(PoolFuture):
    """The outcome of a call that runs in a thread.

    Unlike other futures it can be cancelled while it runs: `cancel` returns True, and who waits for it gets
    CancelledError at once. The function sees that at `CallContext.cancelled`.

    Args:
        context: the call is nested in it; `cancel` cancels it.

    Threads: any.
    """

    def __init__(self, context: CallContext) -> None:
        super().__init__()
        self._context = context
        self._inner: Future[Any] | None = None
        self._claims = threading.Lock()  # the outcome is set by the thread that gets this lock; it is never released

    def follow(self, inner: Future[Any]) -> None:
        """Take over the outcome of the future of the thread."""
        self._inner = inner
        inner.add_done_callback(self._finish)

    def running(self) -> bool:
        """Return whether the call runs in a thread now."""
        return not self.done() and self._inner is not None and self._inner.running()

    def cancel(self) -> bool:
        """Cancel the call, queued or running. Return False if it has ended before."""
        if not self._claims.acquire(blocking=False):
            return self.cancelled()
        super().cancel()
        self.set_running_or_notify_cancel()
        inner, self._inner = self._inner, None  # whose callback refers to this object
        if inner is not None:
            inner.cancel()
        self._context.cancel()
        return True

    def _finish(self, inner: Future[Any]) -> None:
        if not self._claims.acquire(blocking=False):
            return
        self._inner = None
        if inner.cancelled():  # as its executor was shut down
            super().cancel()
            self.set_running_or_notify_cancel()
            return
        self.set_running_or_notify_cancel()
        error = inner.exception()
        if error is None:
            self.set_result(inner.result())
        else:
            self.set_exception(error)


def submit_call(
    submit: Callable[..., Future[Any]],
    call: Callable[..., Any],
    *args: Any,
    context: CallContext | None = None,
    **options: Any,
) -> Future[Any]:
    """Make a call in a thread, and return a future that can cancel it.

    Args:
        submit: runs a callable in a thread.
        call: makes the call; it gets `args`, `options` and a context.
        context: what the call is nested in; None for the running call, if there is one.

    Raises: what `submit` raises.
    """
    outer = CallContext.for_call(None, context)
    outer.abortable = True
    future = CallFuture(outer)
    future.follow(submit(call, *args, context=outer, **options))
    return future
