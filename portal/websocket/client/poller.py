"""EpollPoller: what the reader needs of a selector, and changes of interest from any thread."""

from __future__ import annotations

import select
import selectors
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

__all__ = ["EpollPoller", "Poller", "make_poller"]

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_MAX_EVENTS = 256


class _Key(NamedTuple):
    data: Any


class Poller(Protocol):
    """The part of `selectors.BaseSelector` that the reader uses."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        """Watch a file object. Raises: KeyError, ValueError, OSError."""

    def modify(self, fileobj: Any, events: int, data: Any = None) -> Any:
        """Watch for other events."""

    def unregister(self, fileobj: Any) -> Any:
        """Stop watching."""

    def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        """Wait for events; return (key, events) of each, where `key.data` is what was registered."""

    def close(self) -> None:
        """Release the resources."""


class EpollPoller:
    """A Poller on epoll, with edge cases left to the reader.

    Threads: one registers, unregisters and waits; any may call `set_events`.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, _Key] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> None:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd < 0:
            raise ValueError(f"Invalid file descriptor: {fd}")
        self._epoll.register(fd, _mask(events))
        self._keys[fd] = _Key(data)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> None:
        self.set_events(fileobj.fileno(), events)

    def set_events(self, fd: int, events: int) -> None:
        """Watch a registered descriptor for other events; 0 for errors only. Raises: OSError if not registered."""
        self._epoll.modify(fd, _mask(events))

    def unregister(self, fileobj: Any) -> None:
        fd = fileobj.fileno()
        del self._keys[fd]
        with suppress(OSError):
            self._epoll.unregister(fd)

    def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        found: list[tuple[Any, int]] = []
        for fd, mask in self._epoll.poll(-1 if timeout is None else timeout, _MAX_EVENTS):
            key = self._keys.get(fd)
            if key is not None:
                # An error or a hang-up is found by reading.
                found.append(
                    (key, (_READ if mask & ~select.EPOLLOUT else 0) | (_WRITE if mask & ~select.EPOLLIN else 0))
                )
        return found

    def close(self) -> None:
        self._epoll.close()


def _mask(events: int) -> int:
    return (select.EPOLLIN if events & _READ else 0) | (select.EPOLLOUT if events & _WRITE else 0)


#: Makes the poller of this system.
make_poller: Callable[[], Poller] = EpollPoller if hasattr(select, "epoll") else selectors.DefaultSelector
