"""PortalRegistry: address schemes to portals."""

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
    """Portals by the schemes they answer for; resolves any address.

    Several portals may answer for one scheme: the first that knows the address is taken, the newest asked first.
    Threads: any; look-ups take no lock.
    """

    def __init__(self, portals: Iterable[Resolver] = ()) -> None:
        self._lock = new_lock()  # guards replacing the table
        self._by_scheme: dict[str, tuple[Resolver, ...]] = {}
        for portal in portals:
            self.register(portal)

    def register(self, portal: Resolver) -> Resolver:
        """Take a portal for all its schemes; RegistryError (conflict) when it is in already."""
        with self._lock:
            table = dict(self._by_scheme)
            for scheme in portal.schemes:
                if portal in table.get(scheme, ()):
                    raise RegistryError(f"this portal answers for {scheme} already", name=scheme, kind="conflict")
                table[scheme] = (portal, *table.get(scheme, ()))
            self._by_scheme = table
        return portal

    def unregister(self, portal: Resolver) -> None:
        """Take a portal out; RegistryError (not_found) when it is not in."""
        with self._lock:
            table = {scheme: tuple(p for p in rest if p is not portal) for scheme, rest in self._by_scheme.items()}
            if table == self._by_scheme:
                raise RegistryError("this portal is not registered")
            self._by_scheme = {scheme: rest for scheme, rest in table.items() if rest}

    def schemes(self) -> list[str]:
        """The schemes that have a portal."""
        return list(self._by_scheme)

    def portals(self) -> list[Resolver]:
        """Every portal once."""
        return list(dict.fromkeys(portal for rest in self._by_scheme.values() for portal in rest))

    def get(self, scheme: str) -> tuple[Resolver, ...]:
        """The portals for a scheme, the newest first; RegistryError (not_found) when there is none."""
        found = self._by_scheme.get(scheme)
        if not found:
            known = ", ".join(self._by_scheme) or "none"
            raise RegistryError(f"no portal answers for {scheme}:// (there are: {known})", name=scheme)
        return found

    def resolve(self, address: Address | str) -> Function:
        """The Function at any address; raises what the last portal asked raises."""
        target = Address.of(address)
        return resolve_first(self.get(target.scheme), target)

    def resolve_service(self, address: Address | str) -> Service:
        """The Service at any address."""
        target = Address.of(address)
        *others, last = self.get(target.scheme)
        for portal in others:
            try:
                return portal.resolve_service(target)
            except RegistryError:
                continue
        return last.resolve_service(target)


def resolve_first(portals: Iterable[Resolver], address: Address) -> Function:
    """The Function at `address` of the first of `portals` that has it; the last one's RegistryError if none has."""
    *others, last = portals
    for portal in others:
        try:
            return portal.resolve_function(address)
        except RegistryError:
            continue
    return last.resolve_function(address)
