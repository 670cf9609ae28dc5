"""Dispatcher: run a decoded call and return its result, in the same way for every portal.

It applies the function's own timeout to the deadline, makes the call's context current, and runs the middleware around
the function. Every failure becomes a portal error with the request id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from functools import partial
from time import monotonic
from typing import Any

from .._internal.closing import close_and_log
from .._internal.counter import Counter
from .._internal.job_queue import KeyLimit, Keys
from .._internal.log import get_logger
from ..context import CallContext, enter, leave
from ..errors import CallTimeout, PortalError
from ..function import Function
from ..schema.codecs.files import keeping_files
from .deadlines import (
    DeadlineWatch,
    StreamProgress,
    cancelled_error,
    expired_error,
    limit_deadline,
    timeout_error,
    wait_for,
)
from .elsewhere import Invoke, invoke_by
from .middleware import Call, Middleware, build_chain
from .plugins import close_middleware, counters_of, resolve_middleware
from .stream_worker import END, StreamWorker
from .workers import DISPATCH_THREADS, DispatchWorkers

__all__ = ["Dispatcher"]

_log = get_logger("portal.calls")


def _call_function(call: Call) -> Any:
    if call.streaming:
        return call.function.iterate(call.params, call.context)
    return call.function.invoke(call.params, call.context)


def _call_elsewhere(invoke: Invoke, call: Call) -> Any:
    if call.streaming:
        return call.function.iterate(call.params, call.context)
    return invoke(call.function, call.params, call.context)


def _no_keys(call: Call) -> Keys:
    return ()


def _middleware_failure(call: Call, error: Exception) -> PortalError:
    _log.error("middleware around %s failed", call.function.name, exc_info=error)
    return PortalError(f"middleware around {call.function.name} failed", cause=error)


def _producer(context: CallContext, items: Iterator[Any], progress: StreamProgress) -> Callable[[], Any]:
    """Return a callable that returns the next item, or END, in the thread that calls it."""

    def produce() -> Any:
        with context.active():
            item = next(items, END)
        progress.items += 1
        return item

    return produce


class Dispatcher:
    """Run calls.

    Args:
        middleware: around every call, the first outermost; objects, or names of plug-ins. Closed with the dispatcher.
        executor: where functions run. None runs them in the thread that dispatches, or in the dispatcher's own pool if
            only that can end the wait at the deadline. An executor of other processes runs the functions alone;
            middleware, validation and streams stay here.
        workers: size of that pool.
        name: the portal's `name=`, the namespace of what middleware keeps.
        limits: how many calls with one key may run at a time in the executor or that pool, by the kind of the key.
            Further ones are rejected. None limits nothing.
        keys_of: returns the keys of a call.

    Attributes:
        middleware: the middleware, with plug-ins in place of their names.
        runs_here: whether a call without a deadline runs in the caller's thread.
        is_passthrough: the same, with nothing around the call but its context.
        started, finished: counters of calls. Code that makes such a call without `dispatch` counts it here.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    def __init__(
        self,
        middleware: Iterable[Middleware | str] = (),
        *,
        executor: Executor | None = None,
        workers: int = DISPATCH_THREADS,
        name: str | None = None,
        limits: Mapping[str, KeyLimit] | None = None,
        keys_of: Callable[[Call], Keys] = _no_keys,
    ) -> None:
        self.middleware = resolve_middleware(middleware, name=name)
        invoke = invoke_by(executor)
        self._executor = None if invoke is not None else executor
        self._workers = DispatchWorkers(self._executor, threads=workers, limits=limits)
        self._keys_of = keys_of
        self._has_limits = limits is not None
        run = _call_function if invoke is None else partial(_call_elsewhere, invoke)
        self._invokes_directly = not self.middleware and invoke is None
        self._chain = build_chain(self.middleware, run)
        self._watch = DeadlineWatch()
        self.started, self.finished, self._failed = Counter(), Counter(), Counter()
        self._expired = Counter()
        self.runs_here = self._executor is None
        self.is_passthrough = not self.middleware and executor is None

    def count_failure(self, function: Function, error: PortalError, context: CallContext) -> None:
        """Count a failed call, and add its request id and function to the error."""
        self._failed.add()
        error.with_context(request_id=context.request_id, operation=function.name)

    def call(self, function: Function, params: Mapping[str, Any], context: CallContext) -> Any:
        """Run a call without a deadline, and return its result; only where `is_passthrough`. Raises: as `dispatch`."""
        self.started.add()
        token = enter(context)
        try:
            return function.invoke(params, context)
        except PortalError as error:
            self.count_failure(function, error, context)
            raise
        finally:
            leave(token)
            self.finished.add()

    def run(self, call: Call) -> Any:
        """Run a call without a deadline that does not stream; only where `runs_here`. Raises: as `dispatch`."""
        try:
            return self._run(call)
        except PortalError as error:
            error.with_context(request_id=call.context.request_id, operation=call.function.name)
            raise

    def dispatch(self, call: Call, on_deadline: Callable[[CallTimeout], object] | None = None) -> Any:
        """Run one call and return its result.

        Args:
            call: the call.
            on_deadline: responds to the caller if the deadline passes before the function returns. It runs in another
                thread and must not block. Without it the function runs in a worker, so that this returns in time.

        Returns: JSON data; for a stream, an iterator of JSON data.
        Raises: portal errors only. CallTimeout at the deadline, with the context cancelled. CallCancelled if the call
            was cancelled before the function started. OverloadedError if a worker is needed and none is free.
        """
        context, own = call.context, call.function.schema.timeout
        if own is not None:
            limit_deadline(context, monotonic() + own)
        deadline = context.deadline
        try:
            if context.cancelled:
                raise cancelled_error(context)
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                self._expired.add()
                raise expired_error(context, call.function.name)
            if call.streaming:
                return self._iterate(call, self._run(call), on_deadline)
            if deadline is None:
                return self._run(call) if self._executor is None else self._run_in_worker(call)
            if on_deadline is not None and self._executor is None:
                name = call.function.name
                watched = self._watch_call(context, on_deadline, lambda: timeout_error(context, name, left))
                try:
                    return self._require_in_time(call, self._run(call))
                finally:
                    self._watch.discard(watched)
            if context.watched and self._executor is None:
                return self._require_in_time(call, self._run(call))
            return self._run_in_worker(call)
        except PortalError as error:
            error.with_context(request_id=context.request_id, operation=call.function.name)
            raise

    def _watch_call(
        self, context: CallContext, on_deadline: Callable[[CallTimeout], object], late: Callable[[], CallTimeout]
    ) -> object:
        assert context.deadline is not None

        def fire() -> None:
            try:  # first, or the function might respond that the caller has cancelled the call
                on_deadline(late())
            finally:
                context.cancel()

        token = self._watch.add(context.deadline, fire)
        context.watched = True
        return token

    def _require_in_time(self, call: Call, result: Any) -> Any:
        if call.context.expired:
            raise timeout_error(call.context, call.function.name)
        return result

    def _run_in_worker(self, call: Call) -> Any:
        return wait_for(self._submit(call), call.context, call.function.name)

    def _submit(self, call: Call) -> Future[Any]:
        context = call.context
        before, context.watched = context.watched, True
        try:
            return self._workers.submit(keeping_files(self._run), call, keys=self._keys_of(call))
        except BaseException:
            context.watched = before  # nothing watches it
            raise

    def _run(self, call: Call) -> Any:
        self.started.add()
        try:
            token = enter(call.context)
            try:
                if self._invokes_directly and not call.streaming:  # without the frames of a chain
                    return call.function.invoke(call.params, call.context)
                return self._chain(call)
            finally:
                leave(token)
        except PortalError:
            self._failed.add()
            raise
        except Exception as error:
            self._failed.add()
            raise _middleware_failure(call, error) from error
        finally:
            self.finished.add()

    def _iterate(
        self, call: Call, items: Iterator[Any], on_deadline: Callable[[CallTimeout], object] | None
    ) -> Iterator[Any]:
        """Yield the items of a stream until the deadline or cancellation; the call's context is current for each."""
        context = call.context
        with ExitStack() as stack:
            try:
                produce = self._producer_for(call, items, on_deadline, stack)
                while True:
                    context.check()
                    item = produce()
                    if item is END:
                        return
                    yield item
            except PortalError as error:
                error.with_context(request_id=context.request_id, operation=call.function.name)
                raise
            except Exception as error:  # an exception of the function is already a FunctionError
                raise _middleware_failure(call, error).with_context(
                    request_id=context.request_id, operation=call.function.name
                ) from error

    def _producer_for(
        self,
        call: Call,
        items: Iterator[Any],
        on_deadline: Callable[[CallTimeout], object] | None,
        stack: ExitStack,
    ) -> Callable[[], Any]:
        """Return a callable that returns the next item, or END.

        It produces items in this thread if something else responds at the deadline, otherwise in a worker of the
        stream's own. The callbacks that close the stream are added to `stack`.
        """
        context = call.context
        enforced = context.watched or context.deadline is None
        if not enforced and on_deadline is None:
            worker = StreamWorker(self._workers.with_keys(self._keys_of(call)), items, context, call.function.name)
            stack.callback(worker.close)
            return worker.next
        stack.callback(close_and_log, items, f"the stream of {call.function.name}")
        progress = StreamProgress(context, call.function.name)
        if not enforced and on_deadline is not None:
            watched = self._watch_call(context, on_deadline, progress.timeout_error)
            stack.callback(self._watch.discard, watched)
        return _producer(context, items, progress)

    def stats(self) -> dict[str, Any]:
        """Return the numbers of calls started, failed and running now, and of calls that expired before they ran.

        "middleware" has the counters of middleware, where there are any.
        """
        finished = self.finished.value  # read first, so that a call that ends in between cannot make it negative
        started = self.started.value
        failed, expired = self._failed.value, self._expired.value
        counted = counters_of(self.middleware)
        numbers = {"calls": started, "failed": failed, "running": started - finished, "expired": expired}
        if self._has_limits:
            numbers["limited"] = self._workers.limited
        return numbers | ({"middleware": counted} if counted else {})

    def close(self, timeout: float | None = 0.0) -> None:
        """End the dispatcher's own threads and close the middleware.

        Args:
            timeout: seconds to wait for running functions; those that take longer go on.
        """
        self._watch.close()
        self._workers.close(timeout)
        close_middleware(self.middleware)
