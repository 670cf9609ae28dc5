"""Calls of map_at that a resolver makes in chunks, because one message for each call would cost far more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from ..._internal.closing import close_resource
from ...address import Address
from ...errors import PortalError, ValidationError
from ...function.returns import load_result
from ...schema import Schema

__all__ = ["MapsInChunks", "map_in_chunks"]


@runtime_checkable
class MapsInChunks(Protocol):
    """A resolver whose transport carries many calls in one message."""

    def map_in_chunks(
        self,
        address: Address | str,
        params: Iterable[Mapping[str, Any]],
        *,
        max_in_flight: int,
        timeout: float | None,
        return_exceptions: bool,
    ) -> Iterator[Any]:
        """Return the results for each of `params`, in order.

        Args:
            max_in_flight: messages at a time.
            timeout: seconds for each message.
            return_exceptions: whether a failure is a result; otherwise the first one is raised in its place.
        """


def map_in_chunks(
    resolvers: Iterable[object],
    address: Address | str,
    params: Iterable[Mapping[str, Any]],
    max_in_flight: int,
    timeout: float | None,
    return_exceptions: bool,
    returns: Any,
) -> Iterator[Any] | None:
    """Return the results of a map if the first of the resolvers maps in chunks, else None.

    Args:
        returns: a type to load each result into; None for JSON data.

    The other arguments are those of `MapsInChunks.map_in_chunks`. Raises: ValidationError unless `max_in_flight` is at
    least 1.
    """
    first = next(iter(resolvers), None)
    if not isinstance(first, MapsInChunks):
        return None
    if max_in_flight < 1:
        raise ValidationError(f"max_in_flight must be at least 1, got {max_in_flight}")
    found = first.map_in_chunks(
        address, params, max_in_flight=max_in_flight, timeout=timeout, return_exceptions=return_exceptions
    )
    return found if returns is None else _loaded(found, returns, Address.of(address).name, return_exceptions)


def _loaded(results: Iterator[Any], returns: Any, name: str, return_exceptions: bool) -> Iterator[Any]:
    schema = Schema.of(returns)
    try:
        for one in results:
            yield one if isinstance(one, PortalError) else _load(one, returns, name, schema, return_exceptions)
    finally:
        close_resource(results)


def _load(result: Any, returns: Any, name: str, schema: Schema, return_exceptions: bool) -> Any:
    try:
        return load_result(result, returns, name, schema)
    except PortalError as error:
        if not return_exceptions:
            raise
        return error
