"""Close what has a `close`: iterators, and objects of user code that may or may not have one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .log import get_logger

__all__ = ["ClosingIterator", "close_and_log", "close_resource", "run_all"]

_log = get_logger("portal.calls")


def close_resource(resource: object) -> None:
    """Call the `close` of an object that has one.

    Raises: what `close` raises.
    """
    close = getattr(resource, "close", None)
    if callable(close):
        close()


def close_and_log(resource: object, name: str) -> None:
    """Call the `close` of an object that has one, where nobody handles what it raises: log that.

    Args:
        resource: the object.
        name: what it is, for the log line, such as "the middleware Audit".
    """
    try:
        close_resource(resource)
    except Exception:
        _log.exception("closing %s failed", name)


def run_all(*steps: Callable[[], object], attempts: int = 1) -> None:
    """Call each of the steps, also after one has raised.

    Args:
        attempts: how often a step that raises is called at most. With 2, one exception leaves nothing undone.

    Raises: what the last failed attempt has raised, also if the next one has succeeded.
    """
    failure: BaseException | None = None
    for step in steps:
        for _ in range(attempts):
            try:
                step()
            except BaseException as error:
                failure = error
            else:
                break
    try:
        if failure is not None:
            raise failure
    finally:
        failure = None  # else the exception and this frame refer to each other


class ClosingIterator(Iterator[Any]):
    """An iterator around another one; `close` closes the inner one. A subclass may override `__next__`.

    Args:
        items: the inner iterator, or None if a subclass sets it later.

    Threads: one at a time.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterator[Any] | None) -> None:
        self._items = items

    def __next__(self) -> Any:
        if self._items is None:
            raise StopIteration
        return next(self._items)

    def close(self) -> None:
        """Close the inner iterator, such as the generator of a stream, and end this one."""
        items, self._items = self._items, None
        close_resource(items)
