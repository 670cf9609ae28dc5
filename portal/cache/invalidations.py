"""SharedInvalidations: what one process drops from its cache, the caches of all others drop as well.

Each invalidation is an entry of a stream in Redis or Valkey. A thread of each process reads the stream. A process that
has lost the connection does not know what it has missed. So it drops all its entries when the store responds again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from time import sleep
from typing import Any, Literal, NamedTuple

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.background import BackgroundLoop
from .._internal.log import get_logger
from .._internal.redis_client import RedisClient, StoreClient, StoreUnavailable, as_text, namespaced_prefix
from .._internal.settings import choice, text
from ..errors import OverloadedError

__all__ = ["EVERYTHING", "Invalidation", "SharedInvalidations"]

_log = get_logger("portal.cache")
_BLOCK = 1.0  # seconds for which one read waits
_MARGIN = 1.0  # seconds more until a reader gives up a store that does not respond
_PAUSE = 0.2  # seconds after the store did not respond
_MAX_ENTRIES = 10_000  # of the stream, about
_MAX_UNSENT = 1_000  # beyond this, everything is dropped
_BATCH = 1_000  # entries of one read


class Invalidation(NamedTuple):
    """The entries to drop: those that match every attribute that is not None.

    Attributes:
        address: of the function.
        params: the parameters as canonical JSON, as in the key of an entry.
        tag: a tag of the function.
    """

    address: str | None = None
    params: str | None = None
    tag: str | None = None


#: Drops all entries.
EVERYTHING = Invalidation()


class SharedInvalidations:
    """Share the invalidations of caches over a server that several processes use.

    Pass it to each `ResponseCache(invalidations=)`. A process without a cache calls `publish`. It connects at its first
    use, and then a thread of its own reads. Others drop an entry as soon as the store has told them, which takes a few
    milliseconds. A server that is frozen is noticed within two seconds.

    Args:
        store: URL or client of Redis or Valkey. A client must have a socket timeout of more than a second.
        namespace: the processes that share invalidations.
        on_lost_store: "closed" does not use the caches while the store does not respond; "open" uses their entries as
            long as they are fresh. In both cases all entries are dropped when it responds again.
        key_prefix: prefix of the key in the store.
        pause: waits for seconds after the store did not respond.

    Attributes:
        current: whether caches may be used: no invalidation can have been missed, or `on_lost_store` is "open".

    Raises: ConfigError for a wrong setting.

    Threads: any. Fork: a child reads with a thread of its own, and drops the entries of its parent.
    """

    def __init__(
        self,
        store: str | RedisClient,
        *,
        namespace: str,
        on_lost_store: Literal["open", "closed"] = "closed",
        key_prefix: str = "portal:cache",
        pause: Callable[[float], object] = sleep,
    ) -> None:
        text("cache.key_prefix", key_prefix)
        text("cache.namespace", namespace, max_length=64)
        self._open = choice("cache.on_lost_store", on_lost_store, ("open", "closed")) == "open"
        self._key = f"{namespaced_prefix(key_prefix, namespace)}:invalidations"
        self._link = StoreClient(store, path="cache.store")
        self._reading = StoreClient(store, path="cache.store", timeout=_BLOCK + _MARGIN, pause=_PAUSE)
        self._pause = pause
        self._lock = new_lock()  # guards `_unsent`, `_drops`, `_closed`
        self._drops: tuple[Callable[[Invalidation], object], ...] = ()
        self._closed = False
        self._loop = BackgroundLoop("portal-cache-invalidations", self._step)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without a thread; called by `__init__`, and in a child process after a fork."""
        self._process = os.urandom(8).hex()
        self._unsent: tuple[Invalidation, ...] = ()
        self._last: str | None = None  # id of the last entry that was read; None if some may have been missed
        self.current = self._open

    def attach(self, drop: Callable[[Invalidation], object]) -> None:
        """Call `drop` for each invalidation of another process, from the thread that reads."""
        with self._lock:
            self._drops = (*self._drops, drop)

    def start(self) -> None:
        """Begin to read, unless it has begun or was closed. A system without a thread is logged."""
        if self._loop.running:
            return
        with self._lock:
            if self._closed:
                return
            try:
                self._loop.start()
            except OverloadedError as error:
                _log.error("invalidations of caches are not read: %s", error)

    def publish(self, made: Invalidation = EVERYTHING) -> None:
        """Let the caches of all other processes drop entries; `ResponseCache.invalidate` does this.

        A process without a cache passes for example `Invalidation(tag="prices")`. If the store does not respond, the
        invalidation is sent when it responds again, unless this process ends before.
        """
        try:
            self._send(made)
        except StoreUnavailable as error:
            _log.info("an invalidation is sent later: %s", error)
            with self._lock:
                self._unsent = (*self._unsent, made) if len(self._unsent) < _MAX_UNSENT else (EVERYTHING,)
            self.start()

    def _send(self, made: Invalidation) -> None:
        fields = {"p": self._process, "i": json.dumps(made)}
        self._add(self._link, fields)

    def _add(self, link: StoreClient, fields: dict[str, str]) -> str:
        """Add an entry to the stream and return its id. One without an invalidation only marks a place."""
        added: bytes | str = link.run(lambda client: client.xadd(self._key, fields, maxlen=_MAX_ENTRIES))
        return as_text(added)

    # in the thread

    def _step(self) -> None:
        """Send what waits, and read on. After an error all entries are dropped before the next read."""
        try:
            self._send_unsent()
            if self._last is None:
                self._last = self._add(self._reading, {"p": self._process})
                self._drop(EVERYTHING)
                self.current = True
            last, block = self._last, round(_BLOCK * 1000)
            found = self._reading.run(lambda client: client.xread({self._key: last}, count=_BATCH, block=block))
            # Without the last entry the store has lost its memory, or has trimmed what was not read.
            if self._reading.run(lambda client: client.xrange(self._key, last, last, count=1)):
                for _, entries in found or ():
                    self._take(entries)
            else:
                self._last = None
        except BaseException as error:
            self._last = None
            self.current = self._open
            if not isinstance(error, StoreUnavailable):
                raise
            if not self._closed:
                self._pause(_PAUSE)

    def _send_unsent(self) -> None:
        while self._unsent:
            self._send(self._unsent[0])
            with self._lock:
                self._unsent = self._unsent[1:]

    def _take(self, entries: list[Any]) -> None:
        for entry_id, fields in entries:
            found = {as_text(name): as_text(value) for name, value in fields.items()}
            if "i" in found and found.get("p") != self._process:
                self._drop(_invalidation_of(found["i"]))
            self._last = as_text(entry_id)

    def _drop(self, made: Invalidation) -> None:
        for drop in self._drops:
            try:
                drop(made)
            except Exception:  # the other caches drop it all the same
                _log.exception("a cache could not drop what another process has invalidated")

    def close(self) -> None:
        """End the thread and the connections. May be called twice."""
        with self._lock:
            self._closed = True
            self.current = self._open
        with suppress(StoreUnavailable):
            self._add(self._link, {"p": self._process})  # wakes the thread
        self._loop.stop(_BLOCK + _MARGIN)
        self._reading.close()
        self._link.close()


def _invalidation_of(data: str) -> Invalidation:
    """Return the invalidation in an entry. One that cannot be read drops everything."""
    try:
        found = Invalidation(*json.loads(data))
    except (ValueError, TypeError, RecursionError):
        return EVERYTHING
    return found if all(one is None or isinstance(one, str) for one in found) else EVERYTHING
