"""Dispatcher: the one way from a decoded call to its outcome, the same for every portal.

It folds the function's own timeout into the deadline, makes the call's context current, runs the middleware chain
around the function, and turns whatever goes wrong into a portal error that carries the request id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from time import monotonic
from typing import Any

from .._internal.at_fork import new_lock
from .._internal.closing import close_resource
from .._internal.counter import Counter
from .._internal.executor import WorkerPool
from ..context import CallContext, enter, leave
from ..errors import CallCancelled, CallTimeout, PortalError
from ..function import Function
from .deadlines import DeadlineWatch, timeout_error, wait_for
from .middleware import Call, Middleware, build_chain
from .plugins import close_middleware, resolve_middleware
from .stream_worker import END, StreamWorker

__all__ = ["Dispatcher"]

_log = logging.getLogger("portal.calls")


def _answer(call: Call) -> Any:
    if call.streaming:
        return call.function.iterate(call.params, call.context)
    return call.function.invoke(call.params, call.context)


def _middleware_failure(call: Call, error: Exception) -> PortalError:
    _log.error("middleware around %s failed", call.function.name, exc_info=error)
    return PortalError(f"middleware around {call.function.name} failed", cause=error)


def _maker(context: CallContext, items: Iterator[Any]) -> Callable[[], Any]:
    """Gives the next item, or END, in the thread that asks."""

    def make() -> Any:
        with context.active():
            return next(items, END)

    return make


class Dispatcher:
    """Runs calls.

    Args:
        middleware: around every call, the first outermost; objects, or names of plug-ins. Closed with the dispatcher.
        executor: where functions run; None runs them in the thread that dispatches, and in a pool of the
            dispatcher's own only where the caller must be answered at a deadline.
        workers: size of that pool.

    Attributes:
        bare: whether a call without a deadline runs in the caller's thread with nothing around it but its context.
        begun, ended: counters of calls; whoever makes a bare call without `dispatch` counts it here.

    Threads: any.
    """

    def __init__(
        self, middleware: Iterable[Middleware | str] = (), *, executor: Executor | None = None, workers: int = 32
    ) -> None:
        self.middleware = resolve_middleware(middleware)
        self._executor = executor
        self._workers = workers
        self._pool: WorkerPool | None = None
        self._chain = build_chain(self.middleware, _answer)
        self._watch = DeadlineWatch()
        self._lock = new_lock()  # guards the pool's creation
        self.started, self.finished, self._failed = Counter(), Counter(), Counter()
        self.is_passthrough = not self.middleware and executor is None

    def note_failure(self, function: Function, error: PortalError, context: CallContext) -> None:
        """Count a call that failed, and let its error say which it was."""
        self._failed.add()
        error.with_context(request_id=context.request_id, operation=function.name)

    def dispatch(self, call: Call, on_deadline: Callable[[CallTimeout], object] | None = None) -> Any:
        """Run one call and give its result as JSON data (of a stream: an iterator of JSON data).

        Args:
            on_deadline: answers the caller when the deadline passes before the function returns; it is called from
                another thread and must not block. Without it the function runs in a worker and this returns in time.

        Raises: portal errors only. CallTimeout at the deadline, with the context cancelled; CallCancelled, before the
            function runs, for a call that was given up; OverloadedError when a worker is needed and none is free.
        """
        context = self._limit(call)
        try:
            if context.cancelled:
                raise CallCancelled("the caller gave the call up")
            if context.expired:
                raise timeout_error(context, call.function.name)
            if call.streaming:
                return self._items(call, self._run(call), on_deadline)
            if context.deadline is None:
                return self._run(call) if self._executor is None else self._run_elsewhere(call)
            if on_deadline is not None and self._executor is None:
                return self._run_watched(call, on_deadline)
            if context.watched and self._executor is None:
                return self._in_time(call, self._run(call))
            return self._run_elsewhere(call)
        except PortalError as error:
            error.with_context(request_id=context.request_id, operation=call.function.name)
            raise

    def _limit(self, call: Call) -> CallContext:
        own = call.function.schema.timeout
        context = call.context
        if own is not None:
            limit = monotonic() + own
            if context.deadline is None or limit < context.deadline:
                context.deadline = limit
                context.watched = False
        return context

    def _run_watched(self, call: Call, on_deadline: Callable[[CallTimeout], object]) -> Any:
        token = self._watch_call(call, on_deadline)
        try:
            return self._in_time(call, self._run(call))
        finally:
            self._watch.discard(token)

    def _watch_call(self, call: Call, on_deadline: Callable[[CallTimeout], object]) -> object:
        context = call.context
        assert context.deadline is not None
        timeout = context.remaining()

        def fire() -> None:
            context.cancel()
            on_deadline(timeout_error(context, call.function.name, timeout))

        context.watched = True
        return self._watch.add(context.deadline, fire)

    def _in_time(self, call: Call, result: Any) -> Any:
        if call.context.expired:
            raise timeout_error(call.context, call.function.name)
        return result

    def _run_elsewhere(self, call: Call) -> Any:
        call.context.watched = True
        return wait_for(self._elsewhere().submit(self._run, call), call.context, call.function.name)

    def _elsewhere(self) -> Executor:
        if self._executor is not None:
            return self._executor
        with self._lock:
            if self._pool is None:
                self._pool = WorkerPool(self._workers, 0, name="portal-call")
            return self._pool

    def _run(self, call: Call) -> Any:
        self.started.add()
        token = enter(call.context)
        try:
            return self._chain(call)
        except PortalError:
            self._failed.add()
            raise
        except Exception as error:
            self._failed.add()
            raise _middleware_failure(call, error) from error
        finally:
            leave(token)
            self.finished.add()

    def _items(
        self, call: Call, items: Iterator[Any], on_deadline: Callable[[CallTimeout], object] | None
    ) -> Iterator[Any]:
        """The items, with the call's context current while each is made, ending at the deadline or on cancel."""
        context = call.context
        with ExitStack() as stack:
            try:
                make = self._maker_of(call, items, on_deadline, stack)
                while True:
                    context.check()
                    item = make()
                    if item is END:
                        return
                    yield item
            except PortalError as error:
                error.with_context(request_id=context.request_id, operation=call.function.name)
                raise
            except Exception as error:  # a function's own is a FunctionError by now
                failure = _middleware_failure(call, error)
                raise failure.with_context(request_id=context.request_id, operation=call.function.name) from error

    def _maker_of(
        self,
        call: Call,
        items: Iterator[Any],
        on_deadline: Callable[[CallTimeout], object] | None,
        stack: ExitStack,
    ) -> Callable[[], Any]:
        """What gives the next item, or END: here where the caller is answered in time, else by a worker of its own."""
        context = call.context
        in_time = context.watched or context.deadline is None
        if not in_time and on_deadline is None:
            worker = StreamWorker(self._elsewhere(), items, context, call.function.name)
            stack.callback(worker.close)
            return worker.next
        stack.callback(close_resource, items)
        if not in_time and on_deadline is not None:
            stack.callback(self._watch.discard, self._watch_call(call, on_deadline))
        return _maker(context, items)

    def stats(self) -> dict[str, int]:
        """Calls begun, failed and running now."""
        ended = self.finished.value  # read first: a call in between must not make it negative
        begun = self.started.value
        return {"calls": begun, "failed": self._failed.value, "running": begun - ended}

    def close(self, timeout: float | None = 0.0) -> None:
        """End the dispatcher's own threads and close the middleware; functions still running after `timeout` go on."""
        self._watch.close()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=bool(timeout), cancel_futures=True, timeout=timeout)
        close_middleware(self.middleware)
