"""ServiceRegistry: services of this process by name."""

from __future__ import annotations

from typing import Any

from .._internal.at_fork import new_lock
from ..errors import RegistryError
from ..service import Service

__all__ = ["ServiceRegistry"]


class ServiceRegistry:
    """Services by name, started and stopped together.

    Threads: any; no lock is held while a service starts or stops.
    """

    def __init__(self) -> None:
        self._lock = new_lock()  # guards the table
        self._services: dict[str, Service] = {}

    def register(self, service: Any) -> Service:
        """Take a Service, or an instance of a `@service` class; RegistryError (conflict) for a name that is taken."""
        member = Service.of(service)
        with self._lock:
            if member.name in self._services:
                raise RegistryError(f"service {member.name} is registered already", name=member.name, kind="conflict")
            self._services[member.name] = member
        return member

    def get(self, name: str) -> Service:
        """The service; RegistryError (not_found) when there is none."""
        service = self._services.get(name)
        if service is None:
            raise RegistryError(f"no service {name}", name=name)
        return service

    def exists(self, name: str) -> bool:
        """Whether there is a service of this name."""
        return name in self._services

    def list(self) -> list[dict[str, Any]]:
        """The status of every service, in the order they came."""
        with self._lock:
            services = list(self._services.values())
        return [service.status() for service in services]

    def count(self) -> int:
        """How many services there are."""
        return len(self._services)

    def unregister(self, name: str) -> Service:
        """Take a service out and give it, as it is: a running one is not stopped."""
        with self._lock:
            service = self._services.pop(name, None)
        if service is None:
            raise RegistryError(f"no service {name}", name=name)
        return service

    def clear(self) -> int:
        """Take every service out, as they are; how many they were."""
        with self._lock:
            number = len(self._services)
            self._services.clear()
        return number

    def start(self) -> None:
        """Start every service in order; on an error the ones started here are stopped again and it is raised."""
        started: list[Service] = []
        with self._lock:
            services = list(self._services.values())
        try:
            for service in services:
                service.start()
                started.append(service)
        except BaseException:
            for service in reversed(started):
                service.stop()
            raise

    def stop(self) -> None:
        """Stop every service, last first; the first error is raised after all were stopped."""
        with self._lock:
            services = list(reversed(self._services.values()))
        failures: list[Exception] = []
        for service in services:
            try:
                service.stop()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def __contains__(self, name: object) -> bool:
        return name in self._services

    def __len__(self) -> int:
        return len(self._services)
