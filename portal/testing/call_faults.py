"""CallFaults: latency, failures and lost responses of a mock, drawn by a seed."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._internal.closing import close_and_log
from .._internal.conditions import Event
from .._internal.settings import number, require, seconds
from ..calls.deadlines import timeout_error
from ..calls.middleware import Call, CallNext
from ..context import CallContext
from ..errors import PortalError, TransportError

__all__ = ["CallFaults", "fresh_error", "is_error"]


@dataclass(frozen=True, slots=True)
class _Fault:
    share: float
    delay: float = 0.0
    error: Any = None
    drops: bool = False


class CallFaults:
    """The faults between the callers of a mock and the mock.

    Each fault that was added is drawn for each call, in the order of the calls. So the same seed and the same order of
    calls give the same faults.

    Args:
        seed: of the random numbers.

    Threads: one adds faults; any may call.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()  # guards the random numbers
        self._faults: tuple[_Fault, ...] = ()  # replaced whole, so that a call sees one state of it

    def slow(self, delay: float, share: float) -> None:
        """Delay a part of the calls. Raises: ConfigError."""
        self._add(_Fault(_share(share), delay=seconds("mock.slow", delay)))

    def fails(self, share: float, error: Any) -> None:
        """Let a part of the calls fail with an error before they reach the mock. Raises: ConfigError."""
        ok = isinstance(error, PortalError) or (isinstance(error, type) and issubclass(error, PortalError))
        require(ok, "mock.fails", error, "a PortalError or a class of them; raises() takes any exception")
        self._add(_Fault(_share(share), error=error))

    def drops(self, share: float) -> None:
        """Lose the responses of a part of the calls. Raises: ConfigError."""
        self._add(_Fault(_share(share), drops=True))

    def _add(self, fault: _Fault) -> None:
        self._faults = (*self._faults, fault)

    def run(self, call: Call, call_next: CallNext) -> Any:
        """Make a call with the faults that are drawn for it; a middleware.

        Raises: the error of a fault; TransportError for a lost response; CallTimeout and CallCancelled when the call
            ends during a delay.
        """
        drawn = self._draw()
        for fault in drawn:
            if fault.delay:
                _wait(call.context, fault.delay, call.function.name)
            elif fault.error is not None:
                raise _named(fault.error, call.function.name)
        if not any(fault.drops for fault in drawn):
            return call_next(call)
        name = call.function.name
        try:
            result = call_next(call)
        except PortalError as error:
            raise _lost(name) from error
        if not call.streaming:
            raise _lost(name)
        return _lose(result, name)

    def _draw(self) -> list[_Fault]:
        faults = self._faults
        if not faults:
            return []
        with self._lock:
            return [fault for fault in faults if fault.share == 1 or self._random.random() < fault.share]


def _share(value: float) -> float:
    return number("mock.share", value, minimum=0, maximum=1)


def _wait(context: CallContext, delay: float, name: str) -> None:
    """Wait until the delay is over, or the call is. Raises: CallTimeout; CallCancelled."""
    ended = Event()
    context.on_cancel(ended.set)
    left = context.remaining()
    ended.wait(delay if left is None else min(delay, left))
    if context.expired and not context.cancelled:
        raise timeout_error(context, name)
    context.check()


def _lost(name: str) -> TransportError:
    return TransportError(f"the response of {name} was lost", hint="the call was executed")


def _lose(items: Iterator[Any], name: str) -> Iterator[Any]:
    """Run a stream to its first item, and lose that."""
    try:
        for _ in items:
            break
        yield from ()  # makes this a stream
        raise _lost(name)
    finally:
        close_and_log(items, f"the stream of {name}")


def _named(error: Any, name: str) -> PortalError:
    """Return an error for one call; one that is given as a class gets a message."""
    if isinstance(error, type):
        return error(f"{name} failed: its mock has fails(...)")  # type: ignore[no-any-return]
    return fresh_error(error)  # type: ignore[no-any-return]


def is_error(value: Any) -> bool:
    """Return whether a value can be raised."""
    return isinstance(value, BaseException) or (isinstance(value, type) and issubclass(value, BaseException))


def fresh_error(error: Any) -> Any:
    """Return an error for one call: the request id and the traceback are written on it."""
    if not isinstance(error, PortalError):
        return error
    own = copy.copy(error)
    own.context = dict(error.context)
    own.__cause__ = error.__cause__
    return own
