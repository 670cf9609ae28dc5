"""ServiceMock: the mocks of every function of a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..address import Address
from ..consumer import Client
from ..errors import ConfigError, RegistryError
from ..function import Function
from ..service import Service, is_service
from .mock import Mock

__all__ = ["MockedService", "ServiceMock", "members_of"]


class ServiceMock:
    """The mocks of a service by the names of its functions.

        warehouse = portal.mock(Warehouse)
        warehouse.level.returns(7)
        warehouse["address"].returns("...")     # a function with a name that this class uses

    Args:
        address: the address of the service.
        mocks: by the names of the functions.

    Threads: as `Mock`.
    """

    def __init__(self, address: Address, mocks: Mapping[str, Mock]) -> None:
        self.address = address
        self._mocks = dict(mocks)

    def __getitem__(self, name: str) -> Mock:
        try:
            return self._mocks[name]
        except KeyError:
            raise self._unknown(name) from None

    def __getattr__(self, name: str) -> Mock:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._mocks[name]
        except KeyError:
            raise AttributeError(str(self._unknown(name))) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._mocks)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._mocks})

    def __repr__(self) -> str:
        return f"<ServiceMock {self.address}: {', '.join(self._mocks)}>"

    def _unknown(self, name: str) -> RegistryError:
        known = ", ".join(self._mocks)
        return RegistryError(f"the service at {self.address} has no function {name}", name=name, hint=f"it has {known}")


class MockedService(Service):
    """A service of a TestingPortal that gets its functions one by one. Threads: one publishes; any may read."""

    def include(self, member: Function) -> None:
        """Add a function, unless one of its name is a member."""
        if member.name not in self.functions:
            self._add(member)


def members_of(source: Any) -> Service | None:
    """Return the service that something describes, without its lifecycle; None if it describes none.

    Args:
        source: a Service, or a class with `@service` or an instance of one. The `__init__` of a class does not run.

    Raises: ConfigError for a client that `portal stub` wrote, which does not have the schemas.
    """
    if isinstance(source, Client) or (isinstance(source, type) and issubclass(source, Client)):
        expected = 'the class of the service or the name of a function, such as "warehouse/level", not a client'
        raise ConfigError.invalid("testing.mock", source, expected)
    if isinstance(source, Service):
        return source
    if not is_service(source):
        return None
    return Service.described(source)
