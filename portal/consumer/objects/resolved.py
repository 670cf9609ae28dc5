"""Functions that a Consumer has resolved: JSON data or a type as results, and its middleware around each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..._internal.json_text import JSONValue
from ...address import Address
from ...calls.middleware import Call
from ...errors import RegistryError
from ...function import Function, ResolvedFunction
from ...network.function import service_error
from ...portal import Resolver
from ...registry.portals import resolve_first
from ..resolvers import ResolverTable, one_address
from .service_proxy import ServiceProxy

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["ResolvedFunctions", "ResolvingMethods", "consumer_of_process"]

T = TypeVar("T")
ConsumerT = TypeVar("ConsumerT", bound="ResolvingMethods")


class ResolvedFunctions:
    """The functions and services that a Consumer resolves for its users.

    Args:
        resolvers: of the consumer.
        run: makes a call, with the middleware of the consumer around it.
        is_direct: whether nothing is around a call now, so that a function of this process may be called directly.
        kind: the class of the consumer, of which another process makes one to find a function; None if the consumer has
            settings, which the other process does not have.

    Threads: any.
    """

    def __init__(
        self,
        resolvers: ResolverTable,
        run: Callable[[Call], Any],
        is_direct: bool,
        kind: type[ResolvingMethods] | None,
    ) -> None:
        self._resolvers = resolvers
        self._run = run
        self._is_direct = is_direct
        self._kind = kind

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
        run = None if is_local and self._is_direct else self._make_call
        reference = None if self._kind is None else (_resolve_in_this_process, (self._kind, str(address), returns))
        return found.through(run, reference)

    def _make_call(self, function: ResolvedFunction, params: Any, context: Any, streaming: bool) -> Any:
        return self._run(Call(function, params, context, function.address, streaming))

    def service(self, address: Address) -> ServiceProxy:
        """Return the proxy of the service at an address. Raises: RegistryError (not_found)."""
        description, _ = self._describe(address)
        reference = None if self._kind is None else (_service_in_this_process, (self._kind, str(address)))
        return ServiceProxy(address, description, lambda: self._describe(address)[1], self.resolve, reference=reference)

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


class ResolvingMethods:
    """The methods of a Consumer that resolve addresses."""

    _resolvers: ResolverTable

    def _resolving(self) -> ResolvedFunctions:
        raise NotImplementedError

    @overload
    def resolve(self, address: Address | str, returns: None = None) -> ResolvedFunction[..., JSONValue]: ...

    @overload
    def resolve(self, address: Address | str, returns: TypeForm[T]) -> ResolvedFunction[..., T]: ...

    def resolve(self, address: Address | str, returns: Any = None) -> Any:
        """Return the Function at an address; call it with Python values, as `function(a=1, b=2)`.

        It may be kept: if its server is deployed anew with another schema, it fetches that one (`RemoteFunction`). It
        can be pickled if the consumer has no settings.

        Args:
            returns: a type to load the result, or each item of a stream, into; None for JSON data.

        Raises: AddressError; RegistryError (not_found), also for the address of a service; TransportError when its
            server cannot be reached.
        """
        return self._resolving().resolve(one_address(address), returns)

    def service(self, address: Address | str) -> ServiceProxy:
        """Return the service at an address as an object: `warehouse.level(sku="PEN")`.

        It can be pickled if the consumer has no settings.

        Raises: AddressError; RegistryError (not_found); TransportError when its server cannot be reached.
        """
        return self._resolving().service(one_address(address))

    def list_at(self, address: Address | str) -> dict[str, Any]:
        """Return what is published at a base address: `{"functions": [...], "services": [...]}`, as JSON data."""
        target = one_address(address)
        *others, last = self._resolvers.resolvers_for(target)
        for resolver in others:
            try:
                return resolver.list_at(target)
            except RegistryError:
                continue
        return last.list_at(target)


def consumer_of_process(kind: type[ConsumerT]) -> ConsumerT:
    """Return a consumer without settings, for functions from other processes and for clients without one."""
    found: ConsumerT = _made_once(kind)  # type: ignore[arg-type]  # a class is hashable
    return found


@lru_cache(maxsize=8)
def _made_once(kind: Any) -> Any:
    return kind()


def _resolve_in_this_process(kind: type[ResolvingMethods], address: str, returns: Any) -> Any:
    """Return a function that was pickled in another process."""
    return consumer_of_process(kind).resolve(address, returns)


def _service_in_this_process(kind: type[ResolvingMethods], address: str) -> ServiceProxy:
    """Return the proxy of a service that was pickled in another process."""
    return consumer_of_process(kind).service(address)
