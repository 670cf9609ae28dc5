"""Topics: subscribe and publish to topics, through the resolver of an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .._internal.settings import positive_seconds
from ..address import Address
from ..context import CallContext
from ..errors import RegistryError, ValidationError
from ..function.returns import load_result
from ..schema import to_builtins
from ..schema.codecs.scalars import SCALARS
from ..schema.jsondata import MAX_DEPTH, json_faults
from .resolvers import ResolverTable, one_address

if TYPE_CHECKING:
    from ..websocket.client.subscription import Subscription

__all__ = ["TopicResolver", "Topics"]


class TopicResolver(Protocol):
    """A resolver of addresses at which there may be topics."""

    def subscribe(self, address: Address, params: Mapping[str, Any] | None = None, **options: Any) -> Subscription[Any]:
        """Subscribe to the topic at an address. Raises portal errors only."""

    def publish(
        self, address: Address, data: Any, *, key: str | None = None, context: CallContext | None = None
    ) -> tuple[str, int] | None:
        """Publish data to the topic at an address. Raises portal errors only."""


class Topics:
    """The topics at the addresses of a Consumer.

    Args:
        resolvers: of the Consumer.
        timeout: seconds for a subscription or an event without a timeout of its own; None for no limit.

    Threads: any.
    """

    def __init__(self, resolvers: ResolverTable, timeout: float | None) -> None:
        self._resolvers = resolvers
        self._timeout = timeout

    def subscribe(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None,
        returns: Any,
        callback: Callable[[Any], object] | None,
        timeout: float | None,
        **options: Any,
    ) -> Subscription[Any]:
        """Subscribe to a topic; see `Consumer.subscribe`. The options are those of `TopicResolver.subscribe`."""
        target = one_address(address)
        resolver = self._find(target)
        load = None if returns is None else partial(load_result, returns=returns, name=str(target))
        wait = positive_seconds("timeout", self._timeout if timeout is None else timeout, optional=True)
        given = None if params is None else _json_of(dict(params))
        subscription = resolver.subscribe(target, given, load=load, timeout=wait, **options)
        if callback is not None:
            from ..websocket.client.delivery import deliver
            from ..websocket.client.pool import callback_threads

            deliver(subscription, callback, callback_threads())
        return subscription

    def publish(
        self, address: Address | str, data: Any, key: str | None, timeout: float | None
    ) -> tuple[str, int] | None:
        """Publish Python values: a dataclass is sent as an object, and a decimal or a date as text."""
        target = one_address(address)
        context = CallContext.for_call(self._timeout if timeout is None else timeout)
        return self._find(target).publish(target, _json_of(data), key=key, context=context)

    def _find(self, address: Address) -> TopicResolver:
        """Return the first resolver that knows topics. Raises: RegistryError."""
        for resolver in self._resolvers.resolvers_for(address):
            if callable(getattr(resolver, "subscribe", None)) and callable(getattr(resolver, "publish", None)):
                return resolver  # type: ignore[return-value]
        message, scheme = f"{address.scheme}:// has no topics", address.scheme
        raise RegistryError(message, name=scheme, address=address, hint="use a ws:// or wss:// address")


def _json_of(value: Any) -> Any:
    """Return Python values as JSON data. Raises: ValidationError, which lists those that JSON does not have."""
    found = _without_scalars(to_builtins(value), MAX_DEPTH)
    if faults := json_faults(found):
        raise ValidationError(errors=faults)
    return found


def _without_scalars(value: Any, depth: int) -> Any:
    """Return what `to_builtins` made, with decimals, dates and the like as text; it is unchanged below `depth`."""
    kind = type(value)
    if depth > 0 and kind is dict:
        return {name: _without_scalars(item, depth - 1) for name, item in value.items()}
    if depth > 0 and kind is list:
        return [_without_scalars(item, depth - 1) for item in value]
    codec = SCALARS.get(kind)
    return value if codec is None or codec.encode is None else codec.encode(value)
