"""Threads that run together and are switched often, so that a missing guard shows."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["fast_switches", "in_threads"]

T = TypeVar("T")
_WAIT = 60.0
_INTERVAL = 1e-6  # seconds


@contextmanager
def fast_switches() -> Iterator[None]:
    """Let CPython switch between threads every microsecond inside a `with` block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def in_threads(number: int, work: Callable[[int], T]) -> list[T]:
    """Return `work(0)`, `work(1)`, ..., each from a thread of its own; all of them begin together.

    Raises: the first error of a thread.
    """
    together = threading.Barrier(number)
    found: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(index: int) -> None:
        together.wait(_WAIT)
        try:
            found[index] = work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return [found[index] for index in range(number)]
