"""Call, and the middleware around it.

A middleware is a callable `middleware(call, call_next)`: it may look at and change `call.params`, raise instead of
calling on, and change what `call_next(call)` gives. The chain is built once; the first middleware is the outermost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..address import Address
from ..context import CallContext
from ..function import Function

__all__ = ["Call", "CallNext", "Middleware", "build_chain"]

_NOTHING: Mapping[str, str] = {}


class Call:
    """One call on its way.

    Attributes:
        function: what is called. On a Consumer's side it is a PendingFunction until the server was asked for the
            contract, which the innermost step of the chain does: look at `schema` after `call_next` where it matters.
        params: its parameters, JSON data by name.
        context: what travels with the call.
        address: where it was called, or None.
        streaming: whether the caller wants the items of a stream; call_next then gives an iterator.
        group: the service that the function is published in, on the server's side, or "".
        peer: network address of the client that sent it, "" for a call of this process.
        reply: what goes back beside the answer or the error, text by lower-case name; response headers over HTTP.

    Threads: one call belongs to one thread at a time.
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
    ) -> None:
        self.function = function
        self.params = params
        self.context = context
        self.address = address
        self.streaming = streaming
        self.peer = peer
        self.group = ""
        self._reply: dict[str, str] | None = None

    @property
    def reply(self) -> dict[str, str]:
        if self._reply is None:
            self._reply = {}
        return self._reply

    @property
    def replied(self) -> Mapping[str, str]:
        """What is in `reply`, without making it."""
        return self._reply or _NOTHING


CallNext = Callable[[Call], Any]
Middleware = Callable[[Call, CallNext], Any]


def build_chain(middleware: Iterable[Middleware], last: CallNext) -> CallNext:
    """The callable that runs `middleware` in order around `last`; `last` itself when there is none."""
    chain = last
    for layer in reversed(tuple(middleware)):
        chain = _wrap(layer, chain)
    return chain


def _wrap(layer: Middleware, call_next: CallNext) -> CallNext:
    return lambda call: layer(call, call_next)
