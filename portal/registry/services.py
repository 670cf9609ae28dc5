"""ServiceRegistry: the services of this process by name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .._internal.at_fork import new_lock
from ..errors import RegistryError
from ..service import Service, stop_services

__all__ = ["ServiceRegistry"]


class ServiceRegistry:
    """Services by name, which start and stop together.

    Threads: any; no lock is held while a service starts or stops.
    """

    def __init__(self) -> None:
        self._lock = new_lock()  # guards the table
        self._services: dict[str, Service] = {}

    def register(self, service: Any) -> Service:
        """Add a Service, or an instance of a `@service` class.

        Returns: the Service.
        Raises: RegistryError (conflict) if another service has this name; ConfigError for any other object.
        """
        member = Service.of(service)
        with self._lock:
            if member.name in self._services:
                raise RegistryError(f"a service {member.name} is already registered", name=member.name, kind="conflict")
            self._services[member.name] = member
        return member

    def get(self, name: str) -> Service:
        """Return a service.

        Raises: RegistryError (not_found) if there is none.
        """
        service = self._services.get(name)
        if service is None:
            raise self._unknown(name)
        return service

    def exists(self, name: str) -> bool:
        """Return whether there is a service of this name."""
        return name in self._services

    def list(self) -> list[dict[str, Any]]:
        """Return the status of every service in the order of registration."""
        with self._lock:
            services = list(self._services.values())
        return [service.status() for service in services]

    def count(self) -> int:
        """Return the number of services."""
        return len(self._services)

    def unregister(self, name: str) -> Service:
        """Remove a service and return it. A running service is not stopped.

        Raises: RegistryError (not_found) if there is none.
        """
        with self._lock:
            service = self._services.pop(name, None)
        if service is None:
            raise self._unknown(name)
        return service

    def clear(self) -> int:
        """Remove every service without stopping it. Return the number of services removed."""
        with self._lock:
            number = len(self._services)
            self._services.clear()
        return number

    def start(self) -> None:
        """Start every service in the order of registration.

        Raises: the error of a service's `on_start`, after the services that this call started were stopped again.
        """
        started: list[Service] = []
        with self._lock:
            services = list(self._services.values())
        try:
            for service in services:
                service.start()
                started.append(service)
        except BaseException:
            with suppress(Exception):  # stop_services has logged it
                stop_services(reversed(started))
            raise

    def stop(self) -> None:
        """Stop every service in reverse order.

        Raises: the first error of a service's `on_stop`, after all services were stopped.
        """
        with self._lock:
            services = list(reversed(self._services.values()))
        stop_services(services)

    def _unknown(self, name: str) -> RegistryError:
        registered = ", ".join(self._services.copy()) or "none"
        return RegistryError(f"no service {name} is registered; registered: {registered}", name=name)

    def __contains__(self, name: object) -> bool:
        return name in self._services

    def __len__(self) -> int:
        return len(self._services)
