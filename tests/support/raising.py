"""Let one call of a function raise, and make calls that do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest

__all__ = ["failing_log_handler", "fails", "raising_once"]


def fails(kind: type[Exception], call: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Make a call that raises an error of a class."""
    try:
        call(*args, **options)
    except kind:
        return
    raise AssertionError(f"the call did not raise {kind.__name__}")


def raising_once(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException, *, after: int = 0, thread: str = ""
) -> list[BaseException]:
    """Let one call of a function raise, after some that do not. Return a list that is empty once it has.

    Args:
        where: the class or module of the function.
        after: how many calls come before.
        thread: only calls in threads whose name starts with this text count.
    """
    original: Callable[..., Any] = getattr(where, name)
    left = [error]
    calls = count()

    def replaced(*args: Any, **options: Any) -> Any:
        if left and threading.current_thread().name.startswith(thread) and next(calls) >= after:
            with suppress(IndexError):  # two threads at once
                raise left.pop()
        return original(*args, **options)

    monkeypatch.setattr(where, name, replaced)
    return left


class _FailingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise MemoryError


@contextmanager
def failing_log_handler(name: str = "portal") -> Iterator[None]:
    """Have a handler of a logger raise."""
    handler = _FailingHandler()
    logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger(name).removeHandler(handler)
