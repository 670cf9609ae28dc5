"""Resolver and Portal: a resolver turns addresses into Functions, a portal also publishes Functions at addresses."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Self

from ._internal.at_fork import new_lock
from ._internal.log import get_logger
from ._internal.settings import namespace
from ._internal.weak_bag import WeakBag
from .address import Address
from .catalogue import Catalogue, Entry, UniqueIds
from .errors import ConfigError, FunctionError, PortalError, RegistryError
from .function import Function
from .schema import FunctionSchema
from .service import Service, ServiceState, is_service, stop_services

__all__ = ["Portal", "Resolver", "announce", "in_process_portals", "is_unstarted", "topology"]

_log = get_logger("portal.portal")


class Resolver(ABC):
    """The client side of a transport: it turns addresses into Functions.

    A Consumer holds resolvers. A package offers one for a scheme of its own through the entry point group
    `portal.schemes`. A constructor neither connects nor starts a thread.

    Attributes:
        schemes: the address schemes that it resolves.
        in_process: True if its functions run in this process. A call then has no default timeout, and the function is
            resolved before the middleware runs.

    Threads: any.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    in_process: bool = False

    @abstractmethod
    def resolve_function(self, address: Address | str) -> Function:
        """Return the Function at an address.

        Raises: AddressError, RegistryError (not_found), TransportError where a peer must be asked.
        """

    def resolve_service(self, address: Address | str) -> Service:
        """Return the Service at an address: its functions, each resolved.

        Raises: RegistryError (not_found) when there is no service at the address.
        """
        target = Address.of(address)
        raise RegistryError(f"there is no service at {target}", name=str(target), address=target)

    def list_at(self, address: Address | str) -> dict[str, Any]:
        """Return what is published at a base address: `{"functions": [...], "services": [...]}`.

        Raises: RegistryError (not_found) where the transport has no listing.
        """
        target = Address.of(address)
        raise RegistryError(f"{target.scheme}:// has no listing", name=target.scheme, address=target)

    def close(self) -> None:  # noqa: B027 - a resolver may have nothing to close
        """Close the connections that it keeps. May be called twice."""


class Portal(Resolver):
    """The base class of portals: a Resolver that also publishes.

    A constructor neither connects nor starts a thread. `apply` and `apply_service` start no thread and accept no
    connection, so that importing a module that publishes is safe. `start`, or `with`, starts the services and begins to
    serve. `close` ends it for good and may be called twice.

    Threads: any. Locks are not held while a service starts or stops, or during a call.
    """

    def __init__(self, *, unique_ids: UniqueIds = "fingerprint", name: str | None = None) -> None:
        self._name = namespace("portal.name", name)
        self._catalogue = Catalogue(unique_ids)
        self._services: dict[str, Service] = {}
        self._lifecycle = threading.RLock()  # guards the three attributes around it
        self._services_run = False  # whether services run; one that is published later starts at once
        self._closed = False

    @abstractmethod
    def _address_of(self, path: tuple[str, ...]) -> Address:
        """Return the address of a catalogue path at this portal."""

    # lifecycle

    def start(self) -> None:
        """Start the services and begin to serve. Does nothing if the portal serves already.

        Raises: what a service's `on_start` raises; the services that this call has started are stopped again.
        """
        self._start_services()

    def stop(self, grace: float = 5.0) -> None:
        """Stop serving: let running calls finish within `grace` seconds and stop the services. It may start again.

        Raises: the first error of a service's `on_stop`, after all services were stopped.
        """
        with self._lifecycle:
            self._services_run = False
        try:
            stop_services(self._published_services())
        finally:
            topology.changed()

    def close(self) -> None:
        """Stop, and close every thread and socket. May be called twice."""
        with self._lifecycle:
            was_closed, self._closed = self._closed, True
        if not was_closed:
            _withdraw(self)
            self.stop()

    @property
    def name(self) -> str | None:
        """The name that was given, or None. Portals with one name are replicas."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def accepting(self) -> bool:
        """Whether calls reach it now; a portal that accepts connections has to be started first."""
        return not self._closed

    def _published_services(self) -> list[Service]:
        with self._lifecycle:
            return list(self._services.values())

    def _start_services(self, start: Callable[[Service], None] = Service.start) -> list[Service]:
        """Start every service, and from now on each as it is published. Return those that this call has started."""
        started: list[Service] = []
        tried: set[str] = set()
        try:
            while True:
                with self._lifecycle:
                    self._require_open()
                    if self._services_run:
                        return started
                    waiting = [service for name, service in self._services.items() if name not in tried]
                    if not waiting:
                        self._services_run = True
                        return started
                for service in waiting:
                    tried.add(service.name)
                    if service.state is not ServiceState.RUNNING:
                        start(service)
                        started.append(service)
        except BaseException:
            with suppress(Exception):  # stop_services has logged it
                stop_services(reversed(started))
            raise

    def _start_on_demand(self, service: Service) -> None:
        """Start a service for a call that needs it.

        Raises: FunctionError for what `on_start` raises; the next call tries again.
        """
        try:
            service.start()
        except PortalError:
            raise
        except Exception as error:
            _log.exception("service %s failed to start", service.name)
            message = f"service {service.name} failed to start: {type(error).__name__}: {error}"
            raise FunctionError(message, type=type(error).__name__, private=True, cause=error) from error

    def _require_open(self) -> None:
        if self._closed:
            raise RegistryError(f"this {type(self).__name__} is closed; make a new one", kind="invalid")

    # publishing

    def apply(self, function: Function | Callable[..., Any]) -> Address:
        """Publish a Function, or a plain callable by its hints.

        A portal that serves already publishes it at once. Otherwise no connection is accepted before `start`. With port
        0 this binds a free port, since the address contains it.

        Returns: the address.
        Raises: RegistryError (conflict) when another function has this name and version. ConfigError for a callable
            that cannot be described. TransportError when no port can be bound.
        """
        self._require_open()
        if isinstance(function, Service) or is_service(function):
            name = getattr(function, "__name__", type(function).__name__)
            raise ConfigError(f"{name} is a service", path="apply", expected=f"apply_service({name})")
        entry = self._catalogue.add(Function.of(function))
        try:
            self._bind()
        except BaseException:
            self._catalogue.discard(entry)
            raise
        topology.changed()
        return self._address_of(entry.full_path)

    def apply_service(self, service: Any) -> Address:
        """Publish every function of a Service (or an instance of a `@service` class) under the service's name.

        The service starts with the portal, or at once if the portal runs. All or nothing: on an error none of its
        functions stays published.
        """
        self._require_open()
        group = Service.of(service)
        self._require_free(group)
        starts_now = self._services_run and group.state is not ServiceState.RUNNING
        if starts_now:
            group.start()  # before its functions can be called
        entries: list[Entry] = []
        try:
            with self._lifecycle:
                self._require_free(group)
                for member in group.functions.values():
                    entries.append(self._catalogue.add(member, (group.name,)))  # noqa: PERF401 - one by one, to undo
                self._bind()
                self._services[group.name] = group
        except BaseException:
            for entry in entries:
                self._catalogue.discard(entry)
            if starts_now:
                with suppress(Exception):  # stop_services has logged it
                    stop_services([group])
            raise
        if self._services_run:
            group.start()  # the portal may have started meanwhile
        topology.changed()
        return self._address_of((group.name,))

    def _require_free(self, group: Service) -> None:
        with self._lifecycle:
            if self._services.get(group.name, group) is not group:
                message = f"another service {group.name} is published; remove it first"
                raise RegistryError(message, name=group.name, kind="conflict")

    def _bind(self) -> None:
        """Acquire what an address needs, such as a free port, without accepting connections."""

    def generate_address(self, name: str, metadata: Mapping[str, Any] | None = None) -> Address:
        """Return the address that a function `name` has or would have here.

        Args:
            metadata: may hold "service" (a service's name), "version" and "id".
        """
        facts = metadata or {}
        path = (*([facts["service"]] if facts.get("service") else []), name)
        if facts.get("version"):
            path = (*path[:-1], f"{name}@{facts['version']}")
        return self._address_of((*path, str(facts["id"])) if facts.get("id") else path)

    def remove(self, address: Address | str) -> None:
        """Withdraw a function, or a service with all its functions. Running calls finish; later calls are rejected.

        Raises: RegistryError (not_found) when nothing is published at the address.
        """
        target = Address.of(address)
        path = self._path_of(target)
        with self._lifecycle:
            service = self._services.pop("/".join(path), None)
        if service is None:
            self._catalogue.remove(path, target.version)
            topology.changed()  # after the removal: a call in between must not count as a call of the new version
            return
        for entry in self._catalogue.entries():
            if entry.path[:-1] == path:
                self._catalogue.discard(entry)
        topology.changed()
        service.stop()

    # resolving

    def resolve_service(self, address: Address | str) -> Service:
        """Return the Service at an address: its functions, each resolved.

        Raises: RegistryError (not_found) when there is no service at the address.
        """
        target = Address.of(address)
        path = self._path_of(target)
        name = "/".join(path)
        service = self._services.get(name)
        if service is None:
            hint = self._catalogue.service_hint(path)
            raise RegistryError(f"there is no service {name}", name=name, address=target, hint=hint)
        members = [self.resolve_function(self._address_of((name, member))) for member in service.functions]
        return Service(name, members, version=service.version, description=service.description)

    def owns(self, address: Address) -> bool:
        """Whether an address is one of this portal's, whether something is published there or not."""
        return address.scheme in self.schemes

    def _path_of(self, address: Address) -> tuple[str, ...]:
        """Return the catalogue path that an address of this portal names."""
        return address.segments

    # introspection

    def functions(self) -> dict[Address, FunctionSchema]:
        """Return the schema of each published function by address."""
        return {self._address_of(entry.full_path): entry.function.schema for entry in self._catalogue.entries()}

    def services(self) -> dict[Address, Service]:
        """Return the published services by address."""
        with self._lifecycle:
            return {self._address_of((name,)): service for name, service in self._services.items()}

    def health(self) -> dict[str, Any]:
        """Return `{"status": "up" | "down", "functions": n, "services": {name: state}}`."""
        with self._lifecycle:
            states = {name: service.state.value for name, service in self._services.items()}
        down = self._closed or "error" in states.values()
        return {"status": "down" if down else "up", "functions": len(self._catalogue), "services": states}

    def stats(self) -> dict[str, Any]:
        """Return counters of this moment as JSON data."""
        return {"functions": len(self._catalogue)}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Topology:
    """A version number for the functions at the addresses of this process.

    It grows when a portal opens, stops or closes, and when a function is added or removed. Code that keeps resolved
    functions compares `version` with the version at which it resolved them.

    Threads: any; reading takes no lock.
    """

    def __init__(self) -> None:
        self._lock = new_lock()  # guards counting
        self.version = 0

    def changed(self) -> None:
        """Count a change."""
        with self._lock:
            self.version += 1


topology = Topology()

_alive_lock = new_lock()  # guards the two tables below
# By scheme, newest first; each tuple is replaced as a whole, so that readers need no lock.
_alive: dict[str, tuple[weakref.ref[Portal], ...]] = {}
_served: WeakBag[Portal] = WeakBag()  # portals that accept connections after `start`


def announce(portal: Portal) -> None:
    """Let every Consumer of this process find a portal.

    Consumers resolve addresses through a portal that runs functions in this process. For any other portal, they only
    learn whether an address belongs to a portal that was not started, for the message of an error.
    """
    with _alive_lock:
        if not portal.in_process:
            _served.add(portal)
            return
        for scheme in portal.schemes:
            living = tuple(ref for ref in _alive.get(scheme, ()) if ref() is not None)
            _alive[scheme] = (weakref.ref(portal), *living)
    topology.changed()


def _withdraw(portal: Portal) -> None:
    with _alive_lock:
        _served.discard(portal)
        for scheme in portal.schemes:
            refs = _alive.get(scheme, ())
            _alive[scheme] = tuple(ref for ref in refs if ref() is not None and ref() is not portal)
    topology.changed()


def in_process_portals(scheme: str) -> list[Portal]:
    """Return the open portals of this process for a scheme, the newest first."""
    return [portal for ref in _alive.get(scheme, ()) if (portal := ref()) is not None]


def is_unstarted(address: Address) -> bool:
    """Whether an address belongs to a portal of this process that has not been started."""
    with _alive_lock:
        served = _served.items()
    return any(not portal.accepting and portal.owns(address) for portal in served)
