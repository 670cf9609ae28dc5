"""Call, and the middleware around it.

A middleware is a callable `middleware(call, call_next)`. It may read and change `call.params`, raise an error in place
of the call, and change what `call_next(call)` returns. The chain is built once; the first middleware is the outermost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ..address import Address
from ..context import CallContext
from ..function import Function

__all__ = ["Call", "CallNext", "ChargesRequests", "Middleware", "build_chain"]

_EMPTY: Mapping[str, str] = {}


class Call:
    """One call in progress.

    Attributes:
        function: the function that is called. In a Consumer it is a PendingFunction until the innermost step of the
            chain has fetched the schema. Middleware that needs `schema` reads it after `call_next`.
        params: the parameters by name, as JSON data.
        context: the context of the call: deadline, identity, request id.
        address: the address that was called, or None.
        streaming: whether the caller wants the items of a stream; `call_next` then returns an iterator.
        group: on the server, the service in which the function is published, or "".
        peer: network address of the client, "" for a call within this process.
        reply: texts by lower-case name that go back with the result or the error; response headers over HTTP.

    Threads: one at a time.
    """

    __slots__ = ("_reply", "address", "context", "function", "group", "params", "peer", "streaming")

    def __init__(
        self,
        function: Function,
        params: Mapping[str, Any],
        context: CallContext,
        address: Address | None = None,
        streaming: bool = False,
        peer: str = "",
        group: str = "",
    ) -> None:
        self.function = function
        self.params = params
        self.context = context
        self.address = address
        self.streaming = streaming
        self.peer = peer
        self.group = group
        self._reply: dict[str, str] | None = None

    @property
    def reply(self) -> dict[str, str]:
        if self._reply is None:
            self._reply = {}
        return self._reply

    @property
    def replied(self) -> Mapping[str, str]:
        """The content of `reply`; reading it creates nothing."""
        return self._reply or _EMPTY


CallNext = Callable[[Call], Any]
Middleware = Callable[[Call, CallNext], Any]


class ChargesRequests(Protocol):
    """Middleware that also counts requests that run no function: listings, rpc.discover, unknown functions."""

    def charge(self, call: Call) -> None:
        """Count such a request, or raise the error that rejects it. No function runs inside."""


def build_chain(middleware: Iterable[Middleware], last: CallNext) -> CallNext:
    """Return a callable that runs `middleware` in order around `last`; `last` itself if there is no middleware."""
    chain = last
    for layer in reversed(tuple(middleware)):
        chain = _wrap(layer, chain)
    return chain


def _wrap(layer: Middleware, call_next: CallNext) -> CallNext:
    return lambda call: layer(call, call_next)
