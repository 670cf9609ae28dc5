"""Forks: what a child process must not inherit as it stood in its parent.

A fork copies every lock as it is at that moment, and of all threads only the one that forks: a lock that another thread
held is never released in the child. Locks made here are free in a child; what they guard is a whole step or none, since
each guards a few operations on dicts and lists. Objects with threads, connections or condition variables begin anew.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet

__all__ = ["new_lock", "renew_after_fork"]


class _Renewed(Protocol):
    def after_fork(self) -> None: ...

    def __hash__(self) -> int: ...


_locks: WeakSet[threading.Lock] = WeakSet()
_renewed: WeakSet[_Renewed] = WeakSet()


def new_lock() -> threading.Lock:
    """A lock that is free in a child process, for objects that live long. Never held across user code or I/O."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def renew_after_fork(owner: _Renewed) -> None:
    """Have `owner.after_fork()` called in each child process, before any other thread of it runs.

    It holds no reference to the owner.
    """
    _renewed.add(owner)


def _in_child() -> None:
    for lock in list(_locks):
        # As logging and concurrent.futures do with theirs. `release` would not do: a thread that is just about to take
        # a lock has it already while `locked` is still False.
        lock._at_fork_reinit()  # type: ignore[attr-defined]
    for owner in list(_renewed):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
