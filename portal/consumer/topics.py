"""Subscribe and publish to topics, through the resolver of an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..address import Address
from ..context import CallContext
from ..errors import RegistryError
from ..portal import Resolver
from ..schema import to_builtins

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
    given = None if params is None else to_builtins(dict(params))
    subscription = resolver.subscribe(address, given, load=load, **options)
    if callback is not None:
        from ..websocket.client.delivery import deliver
        from ..websocket.client.pool import callback_threads

        deliver(subscription, callback, callback_threads())
    return subscription


def publish(
    resolver: TopicResolver, address: Address, data: Any, key: str | None, context: CallContext
) -> tuple[str, int] | None:
    """Publish data; a dataclass is sent as an object."""
    return resolver.publish(address, to_builtins(data), key=key, context=context)
