"""Locks and objects that a child process must not inherit in the state that they had in its parent.

A fork copies every lock in its present state, but only the thread that forks. So a lock that another thread held is
never released in the child. Locks made by `new_lock` are free in a child. Each guards only a few operations on dicts
and lists, so the fork leaves the guarded data usable. Objects with threads, connections or condition variables register
with `renew_after_fork` and start anew.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet

from .log import get_logger

__all__ = ["new_lock", "renew_after_fork"]

_log = get_logger("portal")


class _Renewed(Protocol):
    def after_fork(self) -> None: ...

    def __hash__(self) -> int: ...


_locks: WeakSet[threading.Lock] = WeakSet()
_renewed: WeakSet[_Renewed] = WeakSet()


def new_lock() -> threading.Lock:
    """Return a lock that is free in a child process after a fork.

    Use it for objects that live long. It must not be held during user code or I/O.
    """
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def renew_after_fork(owner: _Renewed) -> None:
    """Arrange for `owner.after_fork()` to run in each child process, before the child starts other threads.

    Args:
        owner: the object; only a weak reference is kept. If it raises, the error is logged and the others follow.
    """
    _renewed.add(owner)


def _in_child() -> None:
    for lock in list(_locks):
        # logging and concurrent.futures do the same. `release` is not enough: a thread that acquires a lock may hold it
        # while `locked` is still False.
        lock._at_fork_reinit()  # type: ignore[attr-defined]
    failures: list[tuple[_Renewed, BaseException]] = []
    for owner in list(_renewed):
        try:
            owner.after_fork()
        except BaseException as error:  # an object that is not renewed must not keep the others from it
            failures.append((owner, error))
    for owner, failure in failures:
        _log.error("%s cannot start anew in a child process", type(owner).__qualname__, exc_info=failure)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
