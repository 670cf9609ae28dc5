"""RemoteResolver: what resolvers of servers have in common, from an address to a Function or a Service."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol

from .._internal.json_text import JSONValue
from ..address import Address
from ..errors import AddressError, RegistryError, shorten
from ..function import ResolvedFunction
from ..portal import Resolver
from ..schema import check_name
from ..service import Service
from .function import RemoteFunction, SchemaTransport

__all__ = ["DocumentTransport", "RemoteResolver"]


class DocumentTransport(SchemaTransport, Protocol):
    """A transport that can fetch what a server says about an address."""

    def get(self, address: Address) -> JSONValue:
        """Return the JSON document at an address. Raises portal errors only, which say that no function was called."""

    def close(self) -> None:
        """Close the connections that nothing uses."""


class RemoteResolver(Resolver):
    """Resolve addresses of servers. It opens no listener and publishes nothing.

    Args:
        transport: fetches schemas and documents, and sends the calls.

    Attributes:
        kind: the kind of address, for messages, such as "an HTTP address".
        base_hint: the form of a base address, for messages.

    Threads: any. Fork: a child opens connections of its own.
    """

    kind = "an address of this resolver"
    base_hint = ""

    def __init__(self, transport: DocumentTransport) -> None:
        self._transport = transport

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Return the Function at an address. It fetches the schema, and again after a redeployment.

        A call without an inherited deadline has the timeout of the client.
        """
        return RemoteFunction(self._transport, self._checked(address))

    def resolve_service(self, address: Address | str) -> Service:
        """Return the Service at an address: its functions, each resolved.

        The functions are resolved below that address, by their names and ids, and not at the addresses in the response:
        the caller decides which server receives its credential. A server bound to all interfaces also cannot know its
        own name.

        Raises: RegistryError (not_found) when there is no service at the address.
        """
        target = self._checked(address)
        try:
            found = self._document(target)
        except RegistryError as error:
            if error.kind != "not_found" or error.name is None:  # without a name, nothing is served near the address
                raise
            raise RegistryError(f"there is no service at {target}", address=target, hint=error.hint) from error
        rows = found.get("functions") if isinstance(found, dict) else None
        if not isinstance(found, dict) or not isinstance(rows, list) or "state" not in found:
            raise RegistryError(f"there is no service at {target}", address=target, hint=_hint_of(found))
        name = found.get("name")
        if not isinstance(name, str):
            raise _not_a_service(target)
        members = [self.resolve_function(_member_of(target, row)) for row in rows]
        version, description = found.get("version", "1"), found.get("description", "")
        return Service(name, members, version=str(version), description=str(description))

    def list_at(self, address: Address | str) -> dict[str, Any]:
        """Return what a portal publishes at its base address: `{"functions": [...], "services": [...]}`."""
        target = self._checked(address)
        found = self._document(target)
        if not isinstance(found, dict) or not isinstance(found.get("functions"), list):
            raise RegistryError(f"there is no listing at {target}", address=target, hint=self.base_hint)
        return found

    def close(self) -> None:
        """Close idle connections; connections in use close after their response. May be called twice."""
        self._transport.close()

    def _document(self, target: Address) -> JSONValue:
        """Return what is at an address. The error for the address of a server says how a base address ends."""
        try:
            return self._transport.get(target)
        except RegistryError as error:
            if not target.segments and not error.hint:
                error.hint = self.base_hint
            raise

    def _checked(self, address: Address | str) -> Address:
        target = Address.of(address)
        if target.scheme not in self.schemes:
            raise AddressError(f"{target} is not {self.kind}", position=0, reason="wrong scheme", address=target)
        return target


def _member_of(service: Address, row: JSONValue) -> Address:
    """Return the address of a function of a service: that of the service, with the name and id in the row."""
    with suppress(AddressError, RegistryError, IndexError):
        if isinstance(row, dict) and isinstance(name := row.get("name"), str) and isinstance(row.get("address"), str):
            return service.child(check_name(name), Address.parse(str(row["address"])).segments[-1])
    raise _not_a_service(service)


def _hint_of(found: JSONValue) -> str:
    """Return what there is instead of a service: a function, or services at the base address of a portal."""
    if isinstance(found, dict) and "fingerprint" in found:
        return "there is a function; use Consumer.resolve(address)"
    rows = found.get("services") if isinstance(found, dict) else None
    rows = rows if isinstance(rows, list) else []
    named = [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
    words = ", ".join(shorten(row["name"], 60) for row in named[:3])
    return f"this is the base address of a portal; its services are {words}" if words else ""


def _not_a_service(address: Address) -> RegistryError:
    return RegistryError(f"the response from {address} is not a description of a service", address=address)
