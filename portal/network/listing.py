"""Listing: describes everything published, a service, or a function, for clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..address import Address
from ..catalogue import Catalogue, Entry
from ..service import Service

__all__ = ["Listing"]


class Listing:
    """Describes what is published.

    Args:
        services: the published services by name.
        address_of: returns the address of a catalogue path.

    Attributes:
        address_of: the same function.

    Threads: any.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        services: Mapping[str, Service],
        address_of: Callable[[tuple[str, ...]], Address],
    ) -> None:
        self._catalogue = catalogue
        self._services = services
        self.address_of = address_of

    def is_list(self, path: tuple[str, ...]) -> bool:
        """Whether everything published, or a service, is described at a path."""
        return not path or (len(path) == 1 and path[0] in self._services)

    def has_function(self, path: tuple[str, ...]) -> bool:
        """Whether a function is described at a path without a version."""
        return "@" not in path[-1] and self._catalogue.find(path) is not None

    def describe(self, path: tuple[str, ...], version: str | None, base: Address | None) -> Any:
        """Return the description of a path: everything published, a service, or a function.

        Args:
            version: of a function, or a range of versions.
            base: the address of everything published as the client sees it, if another server serves this app.
        Raises: RegistryError if nothing is there.
        """
        if not path:
            return {
                "functions": [self._row(entry, base) for entry in self._catalogue.entries()],
                "services": [service.status() for service in dict(self._services).values()],
            }
        service = self._services.get(path[0]) if len(path) == 1 else None
        if service is not None:
            rows = [self._row(entry, base) for entry in self._catalogue.entries() if entry.path[:-1] == path]
            return service.status() | {"description": service.description, "functions": rows}
        return self._catalogue.get(path, version).function.schema.to_dict()

    def _row(self, entry: Entry, base: Address | None) -> dict[str, Any]:
        schema = entry.function.schema
        address = self.address_of(entry.full_path) if base is None else base.child(*entry.full_path)
        return {
            "name": schema.name,
            "address": str(address),
            "version": schema.version,
            "service": entry.path[0] if len(entry.path) > 1 else None,
            "description": schema.description,
            "fingerprint": schema.fingerprint,
            "streaming": schema.streaming,
        }
