"""Portal: what publishes Functions at addresses and turns addresses back into Functions."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from ._internal.at_fork import new_lock
from .address import Address
from .catalogue import Catalogue, Entry, UniqueIds
from .errors import ConfigError, RegistryError
from .function import Function
from .schema import FunctionSchema
from .service import Service, is_service

__all__ = ["Portal", "changes", "in_process_portals"]


class Portal(ABC):
    """The base of every portal.

    A constructor neither connects nor starts a thread. A portal that serves starts on the first `apply` or on `with`;
    `close` ends it for good and may be called twice. Threads: any.

    Attributes:
        schemes: the address schemes it answers for.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    #: True when its functions live in this process: any Consumer of the process finds them by scheme.
    in_process: ClassVar[bool] = False

    def __init__(self, *, unique_ids: UniqueIds = "fingerprint") -> None:
        self._catalogue = Catalogue(unique_ids)
        self._services: dict[str, Service] = {}
        self._lifecycle = threading.RLock()  # guards starting, stopping and the services; not held during calls
        self._closed = False
        if self.in_process:
            _join(self)

    @abstractmethod
    def _address_of(self, path: tuple[str, ...]) -> Address:
        """The address of a catalogue path at this portal."""

    @abstractmethod
    def resolve_function(self, address: Address | str) -> Function:
        """The Function at an address.

        Raises: AddressError, RegistryError (not_found), TransportError where a peer must be asked.
        """

    def for_caller(self, auth: Any, cache: Any) -> Portal:
        """This portal as a Consumer uses it that has a credential or a cache; itself where calls carry neither.

        Args:
            auth: a credential of `portal.auth.credentials`, or None.
            cache: a ResponseCache, or None.
        """
        return self

    def start(self) -> None:  # noqa: B027 - a portal of this process has nothing to start
        """Begin to serve; nothing happens when it serves already or has nothing to start."""

    def stop(self, grace: float = 5.0) -> None:
        """Stop serving: finish what runs within `grace` seconds and stop the services."""
        with self._lifecycle:
            services = list(self._services.values())
        for service in services:
            service.stop()

    def close(self) -> None:
        """Stop and give every thread and socket back. May be called twice."""
        if not self._closed:
            self._closed = True
            _leave(self)
            self.stop()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def apply(self, function: Function | Callable[..., Any]) -> Address:
        """Publish a Function, or a plain callable by its hints; gives its address.

        Raises: RegistryError (conflict) when another function has this name and version; ConfigError for a callable
            that cannot be described.
        """
        self._require_open()
        if isinstance(function, Service) or is_service(function):
            name = getattr(function, "__name__", type(function).__name__)
            raise ConfigError(f"{name} is a service", path="apply", expected=f"apply_service({name})")
        entry = self._catalogue.add(Function.of(function))
        try:
            self.start()
        except BaseException:
            self._catalogue.discard(entry)
            raise
        changes.note()
        return self._address_of(entry.full_path)

    def apply_service(self, service: Any) -> Address:
        """Publish every function of a Service (or an instance of a `@service` class) under its name, and start it.

        All or nothing: on an error none of its functions stays published.
        """
        self._require_open()
        group = Service.of(service)
        with self._lifecycle:
            if group.name in self._services and self._services[group.name] is not group:
                raise RegistryError(f"service {group.name} is published already", name=group.name, kind="conflict")
            entries: list[Entry] = []
            try:
                for member in group.functions.values():
                    entries.append(self._catalogue.add(member, (group.name,)))  # noqa: PERF401 - one by one, to undo
                group.start()
                self.start()
            except BaseException:
                for entry in entries:
                    self._catalogue.discard(entry)
                raise
            self._services[group.name] = group
        changes.note()
        return self._address_of((group.name,))

    def resolve_service(self, address: Address | str) -> Service:
        """The Service at an address: its functions, each resolved.

        Raises: RegistryError (not_found) when no service is there.
        """
        target = Address.of(address)
        name = "/".join(self._path_of(target))
        service = self._services.get(name)
        if service is None:
            raise RegistryError(f"no service {name}", name=name, address=target)
        members = [self.resolve_function(self._address_of((name, member))) for member in service.functions]
        return Service(name, members, version=service.version, description=service.description)

    def _path_of(self, address: Address) -> tuple[str, ...]:
        """The catalogue path that an address of this portal names."""
        return address.segments

    def generate_address(self, name: str, metadata: Mapping[str, Any] | None = None) -> Address:
        """The address that a function `name` has or would have here.

        Args:
            metadata: may hold "service" (a service's name), "version" and "id".
        """
        facts = metadata or {}
        path = (*([facts["service"]] if facts.get("service") else []), name)
        if facts.get("version"):
            path = (*path[:-1], f"{name}@{facts['version']}")
        return self._address_of((*path, str(facts["id"])) if facts.get("id") else path)

    def functions(self) -> dict[Address, FunctionSchema]:
        """What is published now: the schema of each function by address."""
        return {self._address_of(entry.full_path): entry.function.schema for entry in self._catalogue.entries()}

    def services(self) -> dict[Address, Service]:
        """The services published now, by address."""
        with self._lifecycle:
            return {self._address_of((name,)): service for name, service in self._services.items()}

    def remove(self, address: Address | str) -> None:
        """Withdraw a function, or a service with all its functions. Calls that run finish; later ones are refused.

        Raises: RegistryError (not_found) when nothing is published there.
        """
        target = Address.of(address)
        path = self._path_of(target)
        with self._lifecycle:
            service = self._services.pop("/".join(path), None)
        changes.note()
        if service is None:
            self._catalogue.remove(path, target.version)
            return
        for entry in self._catalogue.entries():
            if entry.path[:-1] == path:
                self._catalogue.discard(entry)
        service.stop()

    def health(self) -> dict[str, Any]:
        """`{"status": "up" | "down", "functions": n, "services": {name: state}}`."""
        with self._lifecycle:
            states = {name: service.state.value for name, service in self._services.items()}
        down = self._closed or "error" in states.values()
        return {"status": "down" if down else "up", "functions": len(self._catalogue), "services": states}

    def stats(self) -> dict[str, Any]:
        """Counters at this moment, as JSON data."""
        return {"functions": len(self._catalogue)}

    def _require_open(self) -> None:
        if self._closed:
            raise RegistryError(f"the {type(self).__name__} is closed", kind="invalid")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Changes:
    """Counts what may lead an address of this process elsewhere: portals that open and close, functions added, removed.

    Who keeps what it has resolved compares `number`. Threads: any may read; it is counted under a lock.
    """

    def __init__(self) -> None:
        self._lock = new_lock()
        self.number = 0

    def note(self) -> None:
        """Something has changed."""
        with self._lock:
            self.number += 1


changes = Changes()

_alive_lock = new_lock()  # guards the table below
# By scheme, newest first; a tuple is replaced whole, so that readers need no lock.
_alive: dict[str, tuple[weakref.ref[Portal], ...]] = {}


def _join(portal: Portal) -> None:
    with _alive_lock:
        for scheme in portal.schemes:
            living = tuple(ref for ref in _alive.get(scheme, ()) if ref() is not None)
            _alive[scheme] = (weakref.ref(portal), *living)
    changes.note()


def _leave(portal: Portal) -> None:
    with _alive_lock:
        for scheme in portal.schemes:
            refs = _alive.get(scheme, ())
            _alive[scheme] = tuple(ref for ref in refs if ref() is not None and ref() is not portal)
    changes.note()


def in_process_portals(scheme: str) -> list[Portal]:
    """The portals of this process that are alive and answer for `scheme`, the newest first."""
    return [portal for ref in _alive.get(scheme, ()) if (portal := ref()) is not None]
