"""NetworkPortal: what portals that serve on a listener have in common, whatever they speak there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from time import monotonic
from typing import Any, ClassVar, Protocol

from .._internal.closing import close_and_log
from .._internal.settings import flag, instance, url_path
from ..address import Address
from ..calls.client import call_keys
from ..calls.dispatcher import Dispatcher
from ..calls.middleware import Middleware
from ..calls.workers import DISPATCH_THREADS
from ..catalogue import UniqueIds
from ..errors import ConfigError, RegistryError
from ..function import ResolvedFunction
from ..http11.forwarded import trusted_networks
from ..http11.host_patterns import AllowedHosts
from ..portal import Portal, announce
from ..service import Service, ServiceState, stop_services
from ..serving import Listener, ServingConfig
from .host_check import HostCheck
from .listener_mount import ListenerMount, Place, address_on
from .resolver import RemoteResolver

__all__ = ["NetworkPortal", "PortalRegistration"]

_WITH_PORT = re.compile(r"(?!unix:)(?:[a-z]+://)?(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+):([0-9]+)/?")


class PortalRegistration(Protocol):
    """Keeps a portal in a directory while it serves; see `portal.directory.Registration`."""

    def start(self, portal: Any) -> None:
        """Register a portal, which serves already."""

    def stop(self) -> None:
        """Withdraw it."""

    def close(self) -> None:
        """Withdraw it and close connections."""


class NetworkPortal(Portal):
    """Publish functions on a listener, and resolve the addresses of other servers.

    A subclass makes its app in `__init__` and passes it to `_serve_at`.

    Args:
        setting: prefix of the settings in errors, such as "http".
        host, port: where to listen; port 0 takes a free port.
        base_path: prefix of every address.
        resolver: resolves the addresses of other servers.
        listener: an existing Listener to share, which has its own host, port and config.
        serving: limits and timeouts of the listener.
        listen: False opens no socket.
        registration: keeps the portal in a directory, or None.

    The other arguments are those of `HTTPPortal`.

    Attributes:
        listener: accepts the connections.
        allowed_hosts: as given, or None.

    Raises: ConfigError for a wrong setting. `start` raises TransportError when the port is in use.

    Threads: any. Fork: a child process does not serve for its parent; it may publish on a portal of its own.
    """

    #: The scheme without TLS, and with TLS.
    schemes: ClassVar[tuple[str, ...]] = ("", "")

    def __init__(
        self,
        setting: str,
        host: str,
        port: int,
        *,
        base_path: str,
        resolver: RemoteResolver,
        name: str | None,
        trusted_proxies: Iterable[str],
        allowed_hosts: Iterable[str] | None,
        middleware: Iterable[Middleware | str],
        executor: Executor | None,
        listener: Listener | None,
        serving: ServingConfig | None,
        unique_ids: UniqueIds,
        listen: bool,
        registration: PortalRegistration | None = None,
    ) -> None:
        super().__init__(unique_ids=unique_ids, name=name)
        instance(f"{setting}.listener", listener, Listener, optional=True)
        flag(f"{setting}.listen", listen)
        _require_plain_host(setting, host, type(self).__name__)
        self._base_path = url_path(f"{setting}.base_path", base_path)
        self._listen = listen
        self._owns_listener = listener is None
        self.listener = listener or Listener(host, port, config=serving)
        self._resolver = resolver
        self._registration = registration
        self._proxies = trusted_networks(trusted_proxies)
        threads = max(DISPATCH_THREADS, self.listener.config.workers)
        self._dispatcher = Dispatcher(
            middleware,
            executor=executor,
            workers=threads,
            name=self.name,
            limits=self.listener.config.key_limits(threads),
            keys_of=call_keys(self._proxies),
        )
        hosts = None if allowed_hosts is None else AllowedHosts(allowed_hosts, setting=f"{setting}.allowed_hosts")
        self.allowed_hosts = None if hosts is None else hosts.patterns
        self._hosts = HostCheck(hosts, self._loopback_host)

    def _serve_at(self, places: Sequence[Place]) -> None:
        """Serve apps from `start` on; called once, at the end of `__init__`."""
        self._mount = ListenerMount(self.listener, owned=self._owns_listener, listen=self._listen, places=places)
        announce(self)

    @property
    def base(self) -> Address:
        """The address below which everything is published."""
        return self._address_of(())

    @property
    def port(self) -> int:
        """The port of the listener; 0 until port 0 has been bound."""
        return self.listener.port

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return address_on(self.listener, (self.schemes[0], self.schemes[1]), self._base_path, path)

    def _loopback_host(self) -> str | None:
        return self.listener.host if self.listener.loopback else None

    def owns(self, address: Address) -> bool:
        """Return whether an address is below this portal's base, published or not."""
        base = self.base
        return address.authority == base.authority and address.segments[: len(base.segments)] == base.segments

    def _path_of(self, address: Address) -> tuple[str, ...]:
        base = self.base
        if not self.owns(address):
            raise RegistryError(f"{address} is not published here", address=address)
        return address.segments[len(base.segments) :]

    def _bind(self) -> None:
        if self._listen:
            self.listener.bind()

    @property
    def accepting(self) -> bool:
        """Whether the portal, or the server that hosts it, accepts connections now."""
        return self._mount.accepting

    def start(self) -> None:
        """Start the services, then listen and serve. Does nothing if the portal serves already.

        Raises: TransportError when the port is in use; what a service's `on_start` raises.
        """
        started = self._start_services()
        try:
            with self._lifecycle:
                self._require_open()
                was_mounted = self._mount.mounted
                self._mount.start()
            self._register(was_mounted)
        except BaseException:
            with self._lifecycle:
                self._services_run = False
            with suppress(Exception):  # stop_services has logged it
                stop_services(reversed(started))
            raise

    def _register(self, was_mounted: bool) -> None:
        """Register in the directory. If that raises, leave the listener unless the portal served before."""
        if self._registration is None:
            return
        try:
            self._registration.start(self)
        except BaseException:
            if not was_mounted:
                with self._lifecycle:
                    self._mount.stop(0.0)
            raise

    def _start_hosted_services(self) -> None:
        """Start the services at the first request of a hosting server."""
        if not self._services_run and not self._closed:
            self._start_services(self._start_on_demand)

    def stop(self, grace: float = 5.0) -> None:
        """Stop serving: finish running calls within `grace` seconds, then stop the services and the client."""
        try:
            if self._registration is not None:
                self._registration.stop()  # first, so that consumers go elsewhere while running calls end
            if self._owns_listener and self.listener.running:
                self.listener.draining.wait(at_once=grace == 0)
            deadline = monotonic() + grace
            with self._lifecycle:
                self._mount.stop(grace)
            self._drain(max(0.0, deadline - monotonic()))
        finally:
            self._stop_rest(grace)

    def _stop_rest(self, grace: float) -> None:
        try:
            super().stop(grace)
        finally:
            if self._closed:
                self._dispatcher.close()
                if self._registration is not None:
                    close_and_log(self._registration, "the registration of a portal")
                close_and_log(self._resolver, "the resolver of a portal")

    def health(self) -> dict[str, Any]:
        """Return the health of the portal; see `Portal.health`.

        "failing" names the threads that must run and do not (`Listener.failing`). The status is "down" then.
        """
        failing = self.listener.failing
        return super().health() | ({"status": "down", "failing": failing} if failing else {})

    def _problem(self) -> str | None:
        """Return why the portal takes no further calls, or None. Takes no lock, as `stop` may hold it for long."""
        if self._closed:
            return "closed"
        if self._mount.mounted and not self.listener.ready:  # otherwise another server hosts it
            return "failing" if self.listener.failing else "stopping"
        failed = any(service.state is ServiceState.ERROR for service in list(self._services.values()))
        return "a service has failed" if failed else None

    def prepare_stop(self) -> None:
        """Leave the directory, and be not ready. Calls are still served until `stop`."""
        if self._registration is not None:
            self._registration.stop()
        self.listener.draining.begin()

    def _drain(self, grace: float) -> None:
        """Let what runs on connections of a listener that goes on for others end within `grace` seconds."""

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Return the Function at the address of a server; see `RemoteResolver.resolve_function`."""
        return self._resolver.resolve_function(address)

    def resolve_service(self, address: Address | str) -> Service:
        """Return the Service at the address of a server; see `RemoteResolver.resolve_service`."""
        return self._resolver.resolve_service(address)

    def list_at(self, address: Address | str) -> dict[str, Any]:
        """Return what a portal publishes at its base address; see `RemoteResolver.list_at`."""
        return self._resolver.list_at(address)


def _require_plain_host(setting: str, host: object, portal: str) -> None:
    """Reject a host that contains a port, which DNS would not find. Raises ConfigError."""
    found = _WITH_PORT.fullmatch(host) if isinstance(host, str) else None
    if found:
        expected = f'host and port as two arguments: {portal}("{found[1].strip("[]")}", {found[2]})'
        raise ConfigError.invalid(f"{setting}.host", host, expected)
