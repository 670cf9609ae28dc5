"""Subscribe and publish to topics, through the resolver of an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..address import Address
from ..context import CallContext
from ..errors import RegistryError, ValidationError
from ..portal import Resolver
from ..schema import to_builtins
from ..schema.codecs.scalars import SCALARS
from ..schema.jsondata import MAX_DEPTH, json_faults

if TYPE_CHECKING:
    from ..websocket.client.subscription import Subscription

__all__ = ["TopicResolver", "publish", "subscribe", "topics_of"]


class TopicResolver(Protocol):
    """A resolver of addresses at which there may be topics."""

    def subscribe(self, address: Address, params: Mapping[str, Any] | None = None, **options: Any) -> Subscription[Any]:
        """Subscribe to the topic at an address. Raises portal errors only."""

    def publish(
        self, address: Address, data: Any, *, key: str | None = None, context: CallContext | None = None
    ) -> tuple[str, int] | None:
        """Publish data to the topic at an address. Raises portal errors only."""


def topics_of(resolvers: Sequence[Resolver], address: Address) -> TopicResolver:
    """Return the first resolver that knows topics. Raises: RegistryError."""
    for resolver in resolvers:
        if callable(getattr(resolver, "subscribe", None)) and callable(getattr(resolver, "publish", None)):
            return resolver  # type: ignore[return-value]
    raise RegistryError(
        f"{address.scheme}:// has no topics", name=address.scheme, address=address, hint="use a ws:// or wss:// address"
    )


def subscribe(
    resolver: TopicResolver,
    address: Address,
    params: Mapping[str, Any] | None,
    load: Callable[[Any], Any] | None,
    callback: Callable[[Any], object] | None,
    **options: Any,
) -> Subscription[Any]:
    """Subscribe, and deliver the items to the callback if there is one."""
    given = None if params is None else _json_of(dict(params))
    subscription = resolver.subscribe(address, given, load=load, **options)
    if callback is not None:
        from ..websocket.client.delivery import deliver
        from ..websocket.client.pool import callback_threads

        deliver(subscription, callback, callback_threads())
    return subscription


def publish(
    resolver: TopicResolver, address: Address, data: Any, key: str | None, context: CallContext
) -> tuple[str, int] | None:
    """Publish Python values: a dataclass is sent as an object, and a decimal or a date as text."""
    return resolver.publish(address, _json_of(data), key=key, context=context)


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
