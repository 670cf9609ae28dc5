"""LinkPool: the links of a client by the portal that they lead to."""

from __future__ import annotations

from collections.abc import Callable

from ..._internal.at_fork import new_lock, renew_after_fork
from ..._internal.executor import WorkerPool
from ..._internal.log import get_logger
from ...address import Address
from .lifecycle import ConnectionState
from .link import Link

__all__ = ["LinkPool", "callback_threads", "dial_threads", "function_threads", "run_callback"]

_log = get_logger("portal.websocket")

_MAX_PORTALS = 256
_MAX_RECENT = 1024
_Base = tuple[str, tuple[str, ...]]  # scheme://authority, and segments of a path
_GONE = (ConnectionState.CLOSING, ConnectionState.CLOSED)

_shared_lock = new_lock()  # guards the creation of the shared pools
_shared: dict[str, WorkerPool] = {}


def _shared_pool(name: str, workers: int) -> WorkerPool:
    with _shared_lock:
        pool = _shared.get(name)
        if pool is None:
            pool = _shared[name] = WorkerPool(workers, 100_000, name=name)
        return pool


def dial_threads() -> WorkerPool:
    """Return the threads in which the clients of this process connect: 8 at most."""
    return _shared_pool("portal-websocket-dial", 8)


def callback_threads() -> WorkerPool:
    """Return the threads that run the callbacks of subscriptions and of states: 4 at most."""
    return _shared_pool("portal-websocket-callback", 4)


def run_callback(callback: Callable[..., object], *args: object) -> None:
    """Run a callback of the application in a thread. Log that it does not run, if there is none."""
    try:
        callback_threads().submit(callback, *args)
    except Exception as error:  # what has happened goes on without
        _log.error("a callback does not run: %r: %s", callback, error)


def function_threads() -> WorkerPool:
    """Return the threads that run the functions which the clients of this process publish: 16 at most."""
    return _shared_pool("portal-websocket-function", 16)


class LinkPool:
    """The links of one client. Addresses below the path of one portal share its links.

    An address does not show where the path of its portal ends. The first connection leads to the address without name
    and id, and the server tells its path; until then addresses of the same group or base share a link.

    Args:
        make_link: makes a link to the portal at an address.
        connections: links to each portal; a call takes the one with the fewest calls.

    Threads: any. Fork: a child process has no links.
    """

    def __init__(self, make_link: Callable[[Address], Link], connections: int = 1) -> None:
        self._make_link = make_link
        self._connections = connections
        self._lock = new_lock()  # guards the dicts
        self._links: dict[_Base, list[Link]] = {}
        self._recent: dict[Address, Link] = {}  # open links by address; a look-up takes no lock
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Drop the links, whose connections the parent process uses; a child process calls this by itself."""
        self._links, self._recent = {}, {}

    def link_for(self, address: Address, *, is_base: bool = False) -> Link:
        """Return a link to the portal of an address.

        Args:
            is_base: whether the address is that of the portal itself, if no known portal has it.
        """
        recent = self._recent.get(address)
        if recent is not None and recent.state is ConnectionState.OPEN:
            return recent
        with self._lock:
            key = self._find(address) or (address.base, address.segments if is_base else _container_of(address))
            links = self._links.setdefault(key, [])
            usable = [link for link in links if link.state not in _GONE]
            if len(usable) < self._connections and all(link.load for link in usable):
                usable.append(self._make_link(_address_of(key)))
                self._links[key] = [link for link in links if link.state is not ConnectionState.CLOSED] + usable[-1:]
                evicted = self._evict(key)
            else:
                evicted = []
        for link in evicted:
            link.close()
        chosen = min(usable, key=lambda link: link.load)
        if self._connections == 1:
            self._remember(address, chosen)
        return chosen

    def _remember(self, address: Address, link: Link) -> None:
        recent = self._recent
        if len(recent) >= _MAX_RECENT:
            recent = self._recent = {}
        recent[address] = link

    def _find(self, address: Address) -> _Base | None:
        """Return the key of the portal whose path is the longest that contains an address."""
        origin, segments = address.base, address.segments
        for key, links in list(self._links.items()):
            if key[0] == origin and links and key[1] != links[-1].base:  # its server has told its path
                self._links.setdefault((origin, links[-1].base), []).extend(self._links.pop(key))
        for length in range(len(segments), -1, -1):
            if (origin, segments[:length]) in self._links:
                return origin, segments[:length]
        return None

    def _evict(self, kept: _Base) -> list[Link]:
        """Remove the portals used longest ago that are beyond the bound and have no calls."""
        evicted: list[Link] = []
        for key in list(self._links):
            if len(self._links) <= _MAX_PORTALS:
                break
            if key != kept and not any(link.load for link in self._links[key]):
                evicted += self._links.pop(key)
        return evicted

    def all(self) -> list[Link]:
        """Return the links."""
        with self._lock:
            return [link for links in self._links.values() for link in links]

    def close(self) -> None:
        """Close the links; those with calls in flight close after them. A later call makes a new link."""
        with self._lock:
            links, self._links = self._links, {}
            self._recent = {}
        for group in links.values():
            for link in group:
                link.close()


def _container_of(address: Address) -> tuple[str, ...]:
    """Return the path of what contains a function: the segments without its name and id."""
    segments = address.segments
    has_id = len(segments) > 1 and segments[-1] != address.name
    return segments[: -2 if has_id else -1]


def _address_of(key: _Base) -> Address:
    return Address.parse(f"{key[0]}/").child(*key[1])
