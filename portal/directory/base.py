"""Directory: what a caller needs of a directory of instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from .instance import Instance

__all__ = ["Directory", "OnChange", "Watch"]

#: Gets all instances of a name after a change; an empty tuple when none is left.
OnChange = Callable[[tuple[Instance, ...]], object]


@runtime_checkable
class Watch(Protocol):
    """A callback that a directory calls until the watch is closed."""

    def close(self) -> None:
        """End the watch. The callback may run once more if it is running. May be called twice."""


@runtime_checkable
class Directory(Protocol):
    """Tells which instances of a named function are alive.

    Attributes:
        problem: why the lists may be out of date, in a few words; None while they are current. A directory that has
            lost its store keeps the last lists.

    Threads: any.
    """

    @property
    def problem(self) -> str | None: ...

    def instances(self, name: str) -> tuple[Instance, ...]:
        """Return the living instances of a name, such as "billing/charge"; empty for an unknown name.

        A Consumer calls it for the first call of a name, in the context of the call. It should not wait longer than
        until `CallContext.current().deadline`.

        Raises: portal errors only. TransportError when the store cannot be reached and no list is known. CallTimeout
            when the store has not responded by the deadline of the call.
        """

    def watch(self, name: str, on_change: OnChange) -> Watch:
        """Call `on_change` after each change of the instances of a name, from a thread of the directory.

        The first call brings the instances at the time of the watch. It may come before this returns. The calls of one
        watch come one at a time, in order. If `on_change` raises an exception, it is called again with the next poll.
        """
