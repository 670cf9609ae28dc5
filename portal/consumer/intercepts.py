"""Intercepts: resolvers that respond for some addresses in every Consumer of the process, such as mocks of servers."""

from __future__ import annotations

import weakref
from typing import Protocol

from .._internal.at_fork import new_lock
from ..address import Address
from ..errors import ConfigError
from ..portal import Resolver

__all__ = ["Intercepts", "OwnsAddresses", "intercepts"]


class OwnsAddresses(Protocol):
    """A resolver that knows which addresses are its own."""

    def owns(self, address: Address) -> bool:
        """Return whether an address is one of this resolver's."""


class Intercepts:
    """Resolvers that take precedence over all others, for the addresses that they own.

    A resolver is held weakly: one that nothing else keeps alive no longer responds.

    Attributes:
        version: grows with each change. An address that was resolved at another version must be resolved again.

    Threads: any; a look-up takes no lock.
    """

    def __init__(self) -> None:
        self._lock = new_lock()  # guards replacing the tuple and counting
        self._refs: tuple[tuple[Address, weakref.ref[Resolver]], ...] = ()  # the longest base first
        self.version = 0

    def add(self, resolver: Resolver, base: Address) -> None:
        """Let a resolver respond. Of two whose bases are one below the other, the one with the longer base responds.

        Args:
            resolver: it has the method of `OwnsAddresses`.
            base: of its addresses.

        Raises: ConfigError if another resolver has the same base.
        """
        with self._lock:
            living = [row for row in self._refs if row[1]() is not None]
            if any((known.origin, known.segments) == (base.origin, base.segments) for known, _ in living):
                expected = "the base of one portal at a time; close the other TestingPortal, or add the mocks to it"
                raise ConfigError.invalid("testing.base", str(base), expected)
            living.append((base, weakref.ref(resolver)))
            self._refs = tuple(sorted(living, key=lambda row: -len(row[0].segments)))
            self.version += 1

    def remove(self, resolver: Resolver) -> None:
        """Let a resolver respond no more; one that was not added changes nothing."""
        with self._lock:
            left = tuple(row for row in self._refs if row[1]() not in (None, resolver))
            if len(left) != len(self._refs):
                self._refs = left
                self.version += 1

    def find(self, address: Address) -> Resolver | None:
        """Return the resolver with the longest base that owns an address, or None."""
        for _, ref in self._refs:
            resolver = ref()
            if resolver is not None and resolver.owns(address):  # type: ignore[attr-defined]
                return resolver
        return None


#: Of this process. `TestingPortal(base=...)` adds itself.
intercepts = Intercepts()
