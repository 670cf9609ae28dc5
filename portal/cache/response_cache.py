"""ResponseCache: what a client keeps of the answers of cacheable functions.

An entry is fresh until its age says otherwise; after that it is kept, if it has an entity tag, so that the server can
say "still the same" instead of sending it again. Calls for the same key that run at the same time are made once
(`once`). Values are kept as JSON text and decoded on each hit: no caller can change what another gets, the size is
exact, and decoding costs less than copying containers does (a list of 100 records: 87 us against 182).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from cachetools import LRUCache

from .._internal.at_fork import new_lock
from ..address import Address
from ..calls.singleflight import Flight, SingleFlight
from ..context import CallContext
from ..errors import ConfigError
from ..schema.jsondata import is_json
from .cache_control import Freshness, freshness, parse_cache_control

__all__ = [
    "Entry",
    "Flight",
    "Freshness",
    "Key",
    "ResponseCache",
    "freshness",
    "key_of",
    "parse_cache_control",
]

Key = tuple[str, str, str]  # address, parameters as canonical JSON, scope

_OVERHEAD = 512  # bytes of an entry beside its texts, roughly
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_canonical = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


def key_of(address: Address | str, params: Mapping[str, Any], scope: str = "") -> Key | None:
    """Under which an answer is kept; None for parameters that are no JSON data.

    Args:
        scope: who asks, where answers differ by that: what one caller may see must not be given to another.
    """
    data = dict(params)
    return (str(address), _canonical(data), scope) if is_json(data) else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept answer.

    Attributes:
        text: the value as JSON.
        etag: the server's entity tag, quotes included, or None.
        fresh_until: moment of the cache's clock.
        size: bytes of memory, roughly.
    """

    text: str
    etag: str | None
    fresh_until: float
    size: int

    @property
    def value(self) -> Any:
        """The value, the caller's own to change."""
        return _decode(self.text)


class ResponseCache:
    """Kept answers, those used least recently dropped first.

    Args:
        entries: the most.
        max_bytes: of memory for all of them together, keys included, roughly.
        default_age: seconds for which an answer that does not say is fresh.
        clock: seconds, as `time.monotonic`.

    Threads: any. A lock guards the tables for a moment and is never held during a call or while JSON is read.
    """

    def __init__(
        self,
        entries: int = 1024,
        max_bytes: int = 16 * 1024 * 1024,
        default_age: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        for name, number in (("entries", entries), ("max_bytes", max_bytes)):
            if type(number) is not int or number < 1:
                raise _wrong(name, number, "a whole number above 0")
        if isinstance(default_age, bool) or not isinstance(default_age, int | float) or not 0 <= default_age < math.inf:
            raise _wrong("default_age", default_age, "seconds, 0 or above")
        self._most = entries
        self._default_age = default_age
        self._clock = clock
        self._flights: SingleFlight[Key] = SingleFlight()
        self._lock = new_lock()  # guards all below
        self._kept: LRUCache[Key, Entry] = LRUCache(max_bytes, getsizeof=lambda entry: entry.size)
        self._epoch = 0
        self._fresh = self._stale = self._missed = 0

    # keeping

    def lookup(self, key: Key) -> Entry | None:
        """What is kept, fresh (see `is_fresh`) or to be asked for again under its entity tag; None when nothing is."""
        now = self._clock()
        with self._lock:
            entry = self._kept.get(key)
            if entry is None:
                self._missed += 1
            elif now < entry.fresh_until:
                self._fresh += 1
            elif entry.etag is not None:
                self._stale += 1
            else:
                del self._kept[key]
                self._missed += 1
                return None
        return entry

    def is_fresh(self, entry: Entry) -> bool:
        """Whether an entry may be used without asking."""
        return self._clock() < entry.fresh_until

    def store(
        self, key: Key, value: Any, etag: str | None = None, max_age: float | None = None, *, epoch: int | None = None
    ) -> bool:
        """Keep an answer in place of the one before.

        Args:
            etag: the server's entity tag, quotes included.
            max_age: seconds for which it is fresh; `default_age` when None.
            epoch: `epoch` from before the answer was asked for; it is not kept if anything was invalidated since.
        Returns: whether it is kept: not when it could never be used, is too large, or is no JSON data.
        """
        fresh_until = self._until(max_age)
        try:
            text = _encode(value)
        except (TypeError, ValueError, RecursionError):
            text = ""
        size = _OVERHEAD + sum(map(sys.getsizeof, (text, etag, *key)))
        entry = Entry(text, etag, fresh_until, size)
        with self._lock:
            self._kept.pop(key, None)
            useless = not text or (etag is None and fresh_until == -math.inf)
            if useless or size > self._kept.maxsize or epoch not in (None, self._epoch):
                return False
            self._keep(key, entry)
        return True

    @property
    def epoch(self) -> int:
        """How often something was invalidated; for `store`."""
        return self._epoch

    def freshen(self, key: Key, max_age: float | None = None) -> Entry | None:
        """The server said "still the same": the entry is fresh for `max_age` seconds again. None when it is gone."""
        fresh_until = self._until(max_age)
        with self._lock:
            entry = self._kept.get(key)
            if entry is not None:
                entry = replace(entry, fresh_until=fresh_until)
                self._keep(key, entry)
        return entry

    def _until(self, max_age: float | None) -> float:
        age = self._default_age if max_age is None else max_age
        return self._clock() + age if age > 0 else -math.inf

    def _keep(self, key: Key, entry: Entry) -> None:
        self._kept[key] = entry
        while len(self._kept) > self._most:
            self._kept.popitem()

    def invalidate(self, address: Address | str | None = None) -> int:
        """Forget what is kept of one address, or everything, also what is on its way; gives the number forgotten."""
        text = None if address is None else str(address)
        with self._lock:
            self._epoch += 1
            gone = [key for key in self._kept if text in (None, key[0])]
            for key in gone:
                del self._kept[key]
        self._flights.detach(lambda key: text in (None, key[0]))
        return len(gone)

    # one call for many

    def lead(self, key: Key) -> tuple[Flight, bool]:
        """The flight for a key and whether the caller leads it; see `SingleFlight.lead`."""
        return self._flights.lead(key)

    def once(self, key: Key, context: CallContext, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for all who ask for the same key at the same time; see `SingleFlight.once`."""
        return self._flights.once(key, context, name, make)

    def stats(self) -> dict[str, int]:
        """Entries, their bytes, calls under way, and how many lookups found a fresh entry, a stale one, none."""
        with self._lock:
            return {
                "entries": len(self._kept),
                "bytes": int(self._kept.currsize),
                "flights": len(self._flights),
                "fresh": self._fresh,
                "stale": self._stale,
                "missed": self._missed,
            }


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"cache.{name} is {value!r}; expected: {allowed}", path=f"cache.{name}", expected=allowed)
