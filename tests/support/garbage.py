"""Exceptions that only the garbage collector frees: each is part of a reference cycle.

Such a cycle is usually exception -> traceback -> frame -> local variable -> exception.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from types import FrameType
from typing import Any

__all__ = ["cyclic_exceptions"]


@contextmanager
def _saved_garbage() -> Iterator[list[Any]]:
    """Do not collect garbage within the block, and then give the objects of its cycles."""
    found: list[Any] = []
    was_enabled, flags = gc.isenabled(), gc.get_debug()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
        if was_enabled:
            gc.enable()


def cyclic_exceptions(call: Callable[[], object], times: int = 10, *, at_least: int | None = None) -> list[str]:
    """Return a line for each exception that is in a cycle after so many calls: what it is, and what refers to it.

    Threads of other tests may raise exceptions in the meantime. So there are lines only if there are as many exceptions
    as calls.

    Args:
        at_least: the number of exceptions instead; fewer than the calls where a thread of a server in this process may
            not have ended the last ones yet.
    """
    for _ in range(3):  # connections are opened, modules imported, caches filled
        call()
    with _saved_garbage() as garbage:
        for _ in range(times):
            call()
    errors = [one for one in garbage if isinstance(one, BaseException)]
    lines = [f"{type(one).__name__}: {one!s:.60} <- {_holders(one, garbage)}" for one in errors]
    del errors
    garbage.clear()
    return lines if len(lines) >= (times if at_least is None else at_least) else []


def _holders(error: BaseException, garbage: list[Any]) -> str:
    found = []
    for one in garbage:
        if isinstance(one, FrameType):
            names = [name for name, value in one.f_locals.items() if value is error]
            found += [f"{one.f_code.co_qualname}:{one.f_lineno} {name}" for name in names]
        elif one is not error and error in gc.get_referents(one):
            found.append(f"{type(one).__name__} {list(one) if isinstance(one, dict) else ''}")
    return ", ".join(found) + f"; traceback {_functions(error)}"


def _functions(error: BaseException) -> str:
    return ", ".join(f"{frame.f_code.co_qualname}:{line}" for frame, line in walk_tb(error.__traceback__))
