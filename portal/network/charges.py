"""RequestCharges: requests that run no function count for limits of calls."""

from __future__ import annotations

from ..calls.dispatcher import Dispatcher
from ..calls.middleware import Call
from ..context import CallContext
from ..function import function

__all__ = ["UNCALLED", "RequestCharges"]

#: The name of the function that such requests seem to call, in the keys of a limit.
UNCALLED = "rpc.discover"


class RequestCharges:
    """Counts listings, rpc.discover and calls of unknown functions, which take time and memory as well.

    Each middleware of the dispatcher with a method `charge(call)` counts them; see `ChargesRequests`.

    Args:
        dispatcher: of the portal.

    Threads: any.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        found = (getattr(layer, "charge", None) for layer in dispatcher.middleware)
        self._charges = tuple(charge for charge in found if callable(charge))
        self._function = function(name=UNCALLED)(lambda: None)

    def charge(self, peer: str, context: CallContext, reply: dict[str, str]) -> None:
        """Count one request.

        Args:
            peer: network address of the client.
            reply: gets the headers of the limits, also if one of them rejects the request.

        Raises: RateLimitError, OverloadedError.
        """
        if not self._charges:
            return
        call = Call(self._function, {}, context, peer=peer)
        try:
            for charge in self._charges:
                charge(call)
        finally:
            reply.update(call.replied)
