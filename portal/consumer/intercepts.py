"""Intercepts: resolvers that respond for some addresses in every Consumer of the process, such as mocks of servers."""

from __future__ import annotations

import weakref
from typing import Protocol

from .._internal.at_fork import new_lock
from ..address import Address
from ..portal import Resolver

__all__ = ["Intercepts", "OwnsAddresses", "intercepts"]


class OwnsAddresses(Protocol):
    """A resolver that knows which addresses are its own."""

    def owns(self, address: Address) -> bool:
        """Return whether an address is one of this resolver's."""


class Intercepts:
    """Resolvers that take precedence over all others, for the addresses that they own.

    A resolver is held weakly: one that nothing else keeps alive responds no more.

    Attributes:
        version: grows with each change. What was resolved at another version must be resolved again.

    Threads: any; a look-up takes no lock.
    """

    def __init__(self) -> None:
        self._lock = new_lock()  # guards replacing the tuple and counting
        self._refs: tuple[weakref.ref[Resolver], ...] = ()  # newest first
        self.version = 0

    def add(self, resolver: Resolver) -> None:
        """Let a resolver respond, before those that were added earlier.

        Args:
            resolver: it has the method of `OwnsAddresses`.
        """
        with self._lock:
            living = tuple(ref for ref in self._refs if ref() is not None)
            self._refs = (weakref.ref(resolver), *living)
            self.version += 1

    def remove(self, resolver: Resolver) -> None:
        """Let a resolver respond no more; one that was not added changes nothing."""
        with self._lock:
            left = tuple(ref for ref in self._refs if ref() not in (None, resolver))
            if len(left) != len(self._refs):
                self._refs = left
                self.version += 1

    def find(self, address: Address) -> Resolver | None:
        """Return the newest resolver that owns an address, or None."""
        for ref in self._refs:
            resolver = ref()
            if resolver is not None and resolver.owns(address):  # type: ignore[attr-defined]
                return resolver
        return None


#: Of this process. `TestingPortal(base=...)` adds itself.
intercepts = Intercepts()
