"""PortalRegistry: portals by address scheme."""

from __future__ import annotations

from collections.abc import Iterable

from .._internal.at_fork import new_lock
from ..address import Address
from ..errors import RegistryError
from ..function import Function
from ..portal import Resolver
from ..service import Service

__all__ = ["PortalRegistry"]


class PortalRegistry:
    """Portals and other resolvers by scheme. It resolves any address.

    Several portals may have the same scheme. They are tried in turn, the newest first, until one finds the address.

    Args:
        portals: the portals to register.

    Raises: RegistryError (conflict) if a portal is given twice.

    Threads: any. Lookups take no lock.
    """

    def __init__(self, portals: Iterable[Resolver] = ()) -> None:
        self._lock = new_lock()  # guards the replacement of the table
        self._by_scheme: dict[str, tuple[Resolver, ...]] = {}
        for portal in portals:
            self.register(portal)

    def register(self, portal: Resolver) -> Resolver:
        """Add a portal for all its schemes, and return it.

        Raises: RegistryError (conflict) if it is registered already.
        """
        with self._lock:
            table = dict(self._by_scheme)
            for scheme in portal.schemes:
                if portal in table.get(scheme, ()):
                    message = f"this {type(portal).__name__} is already registered for {scheme}://"
                    raise RegistryError(message, name=scheme, kind="conflict")
                table[scheme] = (portal, *table.get(scheme, ()))
            self._by_scheme = table
        return portal

    def unregister(self, portal: Resolver) -> None:
        """Remove a portal.

        Raises: RegistryError (not_found) if it is not registered.
        """
        with self._lock:
            table = {scheme: tuple(p for p in rest if p is not portal) for scheme, rest in self._by_scheme.items()}
            if table == self._by_scheme:
                raise RegistryError(f"this {type(portal).__name__} is not registered")
            self._by_scheme = {scheme: rest for scheme, rest in table.items() if rest}

    def schemes(self) -> list[str]:
        """Return the schemes that have a portal."""
        return list(self._by_scheme)

    def portals(self) -> list[Resolver]:
        """Return every portal once."""
        return list(dict.fromkeys(portal for rest in self._by_scheme.values() for portal in rest))

    def find(self, scheme: str) -> tuple[Resolver, ...]:
        """Return the portals of a scheme, the newest first; none if there is none."""
        return self._by_scheme.get(scheme, ())

    def get(self, scheme: str) -> tuple[Resolver, ...]:
        """Return the portals of a scheme, the newest first.

        Raises: RegistryError (not_found) if there is none.
        """
        found = self.find(scheme)
        if not found:
            registered = ", ".join(f"{one}://" for one in self.schemes()) or "none"
            raise RegistryError(f"no portal is registered for {scheme}://; registered: {registered}", name=scheme)
        return found

    def resolve(self, address: Address | str) -> Function:
        """Return the Function at an address.

        Raises: the error of the last portal of its scheme; RegistryError (not_found) if no portal has the scheme.
        """
        target = Address.of(address)
        return resolve_first(self.get(target.scheme), target)

    def resolve_service(self, address: Address | str) -> Service:
        """Return the Service at an address.

        Raises: see `resolve`.
        """
        target = Address.of(address)
        *others, last = self.get(target.scheme)
        for portal in others:
            try:
                return portal.resolve_service(target)
            except RegistryError:
                continue
        return last.resolve_service(target)


def resolve_first(portals: Iterable[Resolver], address: Address) -> Function:
    """Return the Function at an address from the first of several portals that finds it.

    Raises: the RegistryError of the last portal if none finds it. Any other error is raised at once.
    """
    *others, last = portals
    for portal in others:
        try:
            return portal.resolve_function(address)
        except RegistryError:
            continue
    return last.resolve_function(address)
