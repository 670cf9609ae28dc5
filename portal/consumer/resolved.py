"""Functions that a Consumer has resolved: JSON data or a type as results, and its middleware around each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ..address import Address
from ..calls.middleware import Call
from ..errors import RegistryError
from ..function import Function, ResolvedFunction
from ..network.function import service_error
from ..portal import Resolver
from ..registry.portals import resolve_first
from .resolvers import ResolverTable
from .service_proxy import ServiceProxy, service_proxy

__all__ = ["ResolvedFunctions"]


class ResolvedFunctions:
    """The functions and services that a Consumer resolves for its users.

    Args:
        resolvers: of the consumer.
        run: makes a call, with the middleware of the consumer around it.
        has_middleware: whether there is any now.
        unpickle: returns the function at an address, with results of a type, in another process; None if the other
            process cannot find it, because the consumer has settings.

    Threads: any.
    """

    def __init__(
        self,
        resolvers: ResolverTable,
        run: Callable[[Call], Any],
        has_middleware: bool,
        unpickle: Callable[[str, Any], Function] | None,
    ) -> None:
        self._resolvers = resolvers
        self._run = run
        self._has_middleware = has_middleware
        self._unpickle = unpickle

    def resolve(self, address: Address, returns: Any = None) -> Function:
        """Return the function at an address, with results as JSON data or of a type.

        A function of this process is called directly if there is no middleware now.

        Raises: RegistryError (not_found); one that names `service()` if a service is there.
        """
        resolvers = self._resolvers.resolvers_for(address)
        is_local = resolvers[0].in_process
        try:
            found = resolve_first(resolvers, address).returning(returns)
        except RegistryError as error:
            if error.kind == "not_found" and is_local and _is_service(resolvers, address):
                raise service_error(address) from error
            raise
        if not isinstance(found, ResolvedFunction):
            return found
        run = None if is_local and not self._has_middleware else self._make_call
        reference = None if self._unpickle is None else (self._unpickle, (str(address), returns))
        return found.through(run, reference)

    def _make_call(self, function: ResolvedFunction, params: Any, context: Any, streaming: bool) -> Any:
        return self._run(Call(function, params, context, function.address, streaming))

    def service(self, address: Address) -> ServiceProxy:
        """Return the proxy of the service at an address. Raises: RegistryError (not_found)."""
        description, _ = self._describe(address)
        return service_proxy(address, description, lambda: self._describe(address)[1], self.resolve)

    def _describe(self, address: Address) -> tuple[str, dict[str, str]]:
        """Return the description of a service, and that of each of its functions by name."""
        *others, last = self._resolvers.resolvers_for(address)
        for resolver in others:
            with suppress(RegistryError):
                return _description(resolver, address)
        return _description(last, address)


def _description(resolver: Resolver, address: Address) -> tuple[str, dict[str, str]]:
    if not resolver.in_process:
        with suppress(RegistryError):
            found = resolver.list_at(address)  # one request; the functions are resolved when they are used
            if "state" in found:
                rows = [row for row in found["functions"] if isinstance(row, dict) and isinstance(row.get("name"), str)]
                return str(found.get("description", "")), {row["name"]: str(row.get("description", "")) for row in rows}
    service = resolver.resolve_service(address)
    return service.description, {name: one.schema.description for name, one in service.functions.items()}


def _is_service(resolvers: Sequence[Resolver], address: Address) -> bool:
    for resolver in resolvers:
        with suppress(RegistryError):
            resolver.resolve_service(address)
            return True
    return False
