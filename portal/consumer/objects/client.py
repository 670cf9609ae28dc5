"""Client: the base class of the clients that `portal stub` writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ...address import Address
from ...function import ResolvedFunction
from ...schema import to_builtins
from ...schema.codecs.files import BYTES, FILE, File, json_of_file
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
        self._functions: dict[str, ResolvedFunction[..., Any]] = {}  # those that take files

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._address}>"

    def _call(self, name: str, params: dict[str, object], *, returns: TypeForm[T], omit: tuple[str, ...] = ()) -> T:
        """Call a function. Parameters in `omit` that are None are left out. Raises portal errors only."""
        result: Any = self._consumer.call_at(self._address_of(name), _json_object(params, omit), returns=returns)
        return result  # type: ignore[no-any-return]

    def _call_with_files(
        self, name: str, params: dict[str, object], *, returns: TypeForm[T], omit: tuple[str, ...] = ()
    ) -> T:
        """Call a function that takes files, which are sent without base64 over HTTP; see `_call`."""
        function = self._functions.get(name)
        if function is None:  # two threads may both resolve it; each of them may be used
            found = self._consumer.resolve(self._address_of(name), returns=returns)
            function = self._functions[name] = found
        transfer = function.schema.transfer
        files = frozenset(dict(transfer.files) if transfer is not None else ())
        result: T = function.call_with_files(partial(_json_object, params, omit, files))
        return result

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


def _json_object(
    params: dict[str, object], omit: tuple[str, ...], files: frozenset[str] = frozenset()
) -> dict[str, Any]:
    return {
        name: _json_of_file(value) if name in files else json_of(value)
        for name, value in params.items()
        if value is not None or name not in omit
    }


def _json_of_file(value: Any) -> Any:
    """Return the value of a parameter that takes files: a File, Bytes, or a list of them.

    The codecs of files return a token where the transport carries them. A file anywhere else is base64.
    """
    if isinstance(value, list | tuple):
        return [_json_of_file(item) for item in value]
    codec = FILE if isinstance(value, File) else BYTES if isinstance(value, bytes | bytearray) else None
    return json_of(value) if codec is None or codec.encode is None else codec.encode(value)


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
    if kind is File:
        return json_of_file(value)
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
