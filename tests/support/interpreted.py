"""Functions that run in interpreters of their own, from CPython 3.14. Interpreters import this module, too."""

from __future__ import annotations

from time import monotonic

from portal import CallContext, function
from portal.processes import InterpreterPool

POOL = InterpreterPool(2)


@function(executor=POOL)
def fib(n: int) -> int:
    return n if n < 2 else fib(n=n - 1) + fib(n=n - 2)


@function(executor=POOL)
def request_id(context: CallContext) -> str:
    return context.request_id


def count_for(seconds: float) -> int:
    end, count = monotonic() + seconds, 0
    while monotonic() < end:
        count += 1
    return count
