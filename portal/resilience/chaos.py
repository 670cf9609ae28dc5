"""Chaos: let a part of the calls be slow, fail or lose their response, by a seed, to see what a system does then.

The faults are those of mocks in `portal.testing`: `slow`, `fails` and `drops_after_execution`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

from .._internal.at_fork import new_lock
from .._internal.closing import close_and_log
from .._internal.settings import callback, number, require, seconds, whole_number
from ..calls.deadlines import timeout_error
from ..calls.middleware import Call, CallNext
from ..context import CallContext
from ..errors import PortalError, TransportError
from .retry import wait

__all__ = ["Chaos"]


class Chaos:
    """Middleware around each attempt: adds faults to a part of the calls, for tests and game days.

        Policy(chaos=Chaos(slow=0.1, delay=0.5, fails=0.05, drops_after_execution=0.01, seed=7))

    The faults are drawn in the order of the calls. So the same seed and the same order of calls give the same faults.
    Every call draws three numbers, used or not, so that a changed share does not change the other faults.

    Args:
        slow: the share of calls that are delayed before they are sent, from 0 to 1.
        delay: seconds of the delay.
        fails: the share of calls that fail and are not sent.
        error: what they raise: a portal error or a class of them. None is a TransportError with delivery "not_sent".
        drops_after_execution: the share of calls that are sent, and whose response is lost.
        seed: of the random numbers.
        if_: callable (call) -> bool; which calls may have faults. None is all.
        sleep: callable (seconds, context) that waits; `wait` by default.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        *,
        slow: float = 0.0,
        delay: float = 0.1,
        fails: float = 0.0,
        error: PortalError | type[PortalError] | None = None,
        drops_after_execution: float = 0.0,
        seed: int = 0,
        if_: Callable[[Call], bool] | None = None,
        sleep: Callable[[float, CallContext], object] = wait,
    ) -> None:
        self._slow = number("chaos.slow", slow, minimum=0, maximum=1)
        self._delay = seconds("chaos.delay", delay)
        self._fails = number("chaos.fails", fails, minimum=0, maximum=1)
        self._drops = number("chaos.drops_after_execution", drops_after_execution, minimum=0, maximum=1)
        is_class = isinstance(error, type) and issubclass(error, PortalError)
        ok = error is None or is_class or isinstance(error, PortalError)
        require(ok, "chaos.error", error, "a PortalError or a class of them", optional=True)
        self._error = error
        self._seed = whole_number("chaos.seed", seed)
        self._if = callback("chaos.if_", if_, expected="a callable (call) -> bool", optional=True)
        self._sleep = sleep
        self._reset()

    def _reset(self) -> None:
        self._lock = new_lock()  # guards the attributes below
        self._random = random.Random(self._seed)
        self._counts = {"slow": 0, "fails": 0, "drops_after_execution": 0}

    def for_consumer(self) -> Chaos:
        """Return a stage with the same settings that begins with the seed."""
        made = copy(self)
        made._reset()
        return made

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Make the call with the faults that are drawn for it."""
        if self._if is not None and not self._if(call):
            return call_next(call)
        slow, fails, drops = self._draw()
        if slow:
            self._wait(call)
        if fails:
            raise self._failure(call)
        if not drops:
            return call_next(call)
        try:
            result = call_next(call)
        except PortalError as error:
            raise _lost(call) from error
        if call.streaming:
            return _lose_first(result, call)
        raise _lost(call)

    def _draw(self) -> tuple[bool, bool, bool]:
        with self._lock:
            draw = self._random.random
            slow, fails, drops = draw() < self._slow, draw() < self._fails, draw() < self._drops
            drops = drops and not fails
            if slow or fails or drops:
                for name, happens in (("slow", slow), ("fails", fails), ("drops_after_execution", drops)):
                    self._counts[name] += happens
        return slow, fails, drops

    def _wait(self, call: Call) -> None:
        context = call.context
        left = context.remaining()
        self._sleep(self._delay if left is None else min(self._delay, left), context)
        if context.expired and not context.cancelled:
            raise timeout_error(context, call.function.name)
        context.check()

    def _failure(self, call: Call) -> PortalError:
        name = call.function.name
        if self._error is None:
            words = f"chaos: {name} was not sent"
            return TransportError(words, delivery="not_sent", address=call.address)
        if isinstance(self._error, type):
            return self._error(f"chaos: {name} failed")
        own = copy(self._error)
        own.context = dict(own.context)
        return own

    def stats(self) -> dict[str, int]:
        """Return how often each fault has happened."""
        with self._lock:
            return dict(self._counts)


def _lost(call: Call) -> TransportError:
    words = f"the response of {call.function.name} was lost"
    return TransportError(words, hint="chaos: the call was executed", address=call.address)


def _lose_first(items: Iterator[Any], call: Call) -> Iterator[Any]:
    """Run a stream to its first item, and lose that."""
    try:
        for _ in items:
            break
        yield from ()  # makes this a stream
        raise _lost(call)
    finally:
        close_and_log(items, f"the stream of {call.function.name}")
