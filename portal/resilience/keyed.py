"""KeyedState: the state of a stage for each service or instance, bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import Generic, TypeVar

from .._internal.at_fork import new_lock
from ..address import Address
from ..calls.middleware import Call

__all__ = ["KeyedState", "authority_of"]

StateT = TypeVar("StateT")

_EVICTION_SCAN = 16  # how many of the least recently used states are searched for an idle one to evict


def authority_of(call: Call) -> str:
    """Return the `host:port` of a call's address; the function's name if the address has no host."""
    address = call.address
    return (_authority(address) if address is not None else "") or call.function.name


@lru_cache(maxsize=4096)
def _authority(address: Address) -> str:
    return address.authority


class KeyedState(Generic[StateT]):
    """States by key, each made on first use. Beyond the bound the least recently used idle one is removed.

    If none of the oldest is idle, the oldest is removed. A call that uses it keeps it until the call ends.

    Args:
        make: returns a new state.
        max_entries: the largest number of states.
        is_idle: whether a state may be removed without loss; None takes every state for idle.

    A look-up takes no lock: it notes the key in a set. The order of use is updated when a state is removed.

    Threads: any. `make` and `is_idle` run under the lock and must be quick.
    """

    def __init__(
        self, make: Callable[[], StateT], max_entries: int, is_idle: Callable[[StateT], bool] | None = None
    ) -> None:
        self._make = make
        self._max_entries = max_entries
        self._is_idle = is_idle
        self._lock = new_lock()  # guards the states by key, not what is in each state
        self._states: OrderedDict[str, StateT] = OrderedDict()
        self._used: set[str] = set()  # keys used since the last eviction; their order is made then

    def get(self, key: str) -> StateT:
        """Return the state of a key, made now if there is none."""
        found = self._states.get(key)
        if found is not None:
            self._used.add(key)
            return found
        with self._lock:
            found = self._states.get(key)
            if found is None:
                if len(self._states) >= self._max_entries:
                    self._evict()
                found = self._states[key] = self._make()
            return found

    def _evict(self) -> None:
        used, self._used = self._used, set()
        for key in used.copy():
            if key in self._states:
                self._states.move_to_end(key)
        oldest = list(islice(self._states.items(), _EVICTION_SCAN))
        idle = [key for key, state in oldest if self._is_idle is None or self._is_idle(state)]
        del self._states[idle[0] if idle else oldest[0][0]]

    def find(self, key: str) -> StateT | None:
        """Return the state of a key, or None; nothing is made and the order does not change."""
        return self._states.get(key)

    def items(self) -> list[tuple[str, StateT]]:
        """Return the states by key."""
        with self._lock:
            return list(self._states.items())

    def clear(self) -> None:
        """Remove every state."""
        with self._lock:
            self._states.clear()
