"""Client: the base class of the clients that `portal stub` writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ...address import Address
from ...schema import to_builtins
from ...schema.codecs.scalars import SCALARS
from ..consumer import Consumer
from .resolved import consumer_of_process

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["OMIT", "Client", "json_of"]

T = TypeVar("T")

#: Metadata of a field that is left out if it is None: the server then decides what it is.
OMIT: Mapping[str, bool] = {"portal.omit": True}


class Client:
    """The base class of clients that `portal stub` writes: a method for each function of a service.

    Args:
        address: of the service, or of the portal for functions without one; None for the one in the module.
        consumer: makes the calls; None for a consumer of this process without settings.

    Threads: any.
    """

    ADDRESS: ClassVar[str] = ""

    def __init__(self, address: Address | str | None = None, consumer: Consumer | None = None) -> None:
        self._address = str(self.ADDRESS if address is None else address)
        self._consumer = consumer_of_process(Consumer) if consumer is None else consumer
        self._addresses: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._address}>"

    def _call(self, name: str, params: dict[str, object], *, returns: TypeForm[T], omit: tuple[str, ...] = ()) -> T:
        """Call a function. Parameters in `omit` that are None are left out. Raises portal errors only."""
        result: Any = self._consumer.call_at(self._address_of(name), _json_object(params, omit), returns=returns)
        return result  # type: ignore[no-any-return]

    def _stream(
        self, name: str, params: dict[str, object], *, returns: TypeForm[T], omit: tuple[str, ...] = ()
    ) -> Iterator[T]:
        """Call a stream; see `_call`."""
        return self._consumer.stream_at(self._address_of(name), _json_object(params, omit), returns=returns)

    def _address_of(self, name: str) -> str:
        found = self._addresses.get(name)
        if found is None:  # two threads may both make it; the texts are equal
            # of a portal without a base address, as local://, the name follows at once
            at = f"{self._address}{name}" if self._address.endswith("://") else Address.parse(self._address).child(name)
            found = self._addresses[name] = str(at)
        return found


def _json_object(params: dict[str, object], omit: tuple[str, ...]) -> dict[str, Any]:
    return {name: json_of(value) for name, value in params.items() if value is not None or name not in omit}


def json_of(value: Any) -> Any:
    """Return a value of a generated type as JSON data, without the fields that are to be left out."""
    kind = type(value)
    if kind in _JSON_SCALARS:
        return value
    if kind is list or kind is tuple:
        return [json_of(item) for item in value]
    if isinstance(value, dict):
        return {_name(name): json_of(item) for name, item in value.items()}
    if dataclasses.is_dataclass(kind):
        found = {}
        for field in dataclasses.fields(kind):
            item = getattr(value, field.name)
            if item is not None or "portal.omit" not in field.metadata:
                found[field.name] = json_of(item)
        return found
    codec = SCALARS.get(kind)
    if codec is None or codec.encode is None:
        # an enumeration, or a class that the module does not have: validation names it if it is not JSON data
        return to_builtins(value)
    return codec.encode(value)


def _name(name: Any) -> Any:
    """Return the name of a member of an object: the digits of an integer, a date as text."""
    found = json_of(name)
    return str(found) if type(found) is int else found


_JSON_SCALARS = frozenset((str, int, float, bool, type(None)))
