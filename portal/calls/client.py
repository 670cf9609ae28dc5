"""The client of a call: the caller's identity, or without one the network that the call came from.

Everything that limits, counts or keeps something per client uses this definition.
"""

from __future__ import annotations

from collections.abc import Callable

from .._internal.job_queue import Keys
from ..context import Identity
from ..http11.client_network import client_network
from ..http11.forwarded import Proxy, is_trusted_proxy
from .middleware import Call

__all__ = ["call_keys", "client_name", "client_of"]


def client_of(call: Call) -> str:
    """Return the name of the client that makes a call; see `client_name`."""
    return client_name(call.context.identity, call.peer)


def client_name(identity: Identity | None, peer: str) -> str:
    """Return the name of a client, such as "identity:ann", "network:192.0.2.1" or "network:2001:db8::/64".

    A client cannot have the name of another kind of client, since the name begins with its kind.

    Args:
        identity: the identity that authentication found, or None.
        peer: the network address of the client, behind trusted proxies; "" for a call within this process.
    """
    return f"network:{client_network(peer)}" if identity is None else f"identity:{identity.name}"


def call_keys(proxies: tuple[Proxy, ...]) -> Callable[[Call], Keys]:
    """Return a callable that returns the keys of a call, after authentication.

    Args:
        proxies: networks of trusted proxies. A proxy itself is not a client.
    """

    def keys_of(call: Call) -> Keys:
        name = call.function.name
        function = ("function", f"{call.group}/{name}" if call.group else name)
        if call.context.identity is None and is_trusted_proxy(call.peer, proxies):
            return (function,)
        return function, ("client", client_of(call))

    return keys_of
