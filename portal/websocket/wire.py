"""The texts of the notifications that extend JSON-RPC: one function for each.

The data of an event is already JSON text, so that it is encoded once for all subscribers.
"""

from __future__ import annotations

from .._internal.json_encoder import encode_json
from .._internal.json_text import JSONObject, JSONValue
from ..errors import PortalError
from ..jsonrpc.messages import Id, error_response, request

__all__ = ["cancel", "complete", "credit_for_call", "credit_for_subscription", "event", "gap", "go_away", "item"]


def cancel(call_id: Id) -> bytes:
    """Return the text that cancels a call of this side."""
    return _notification("rpc.cancel", {"id": call_id})


def credit_for_call(call_id: Id, items: int) -> bytes:
    """Return the text that accepts more items of the stream of a call of this side."""
    return _notification("rpc.credit", {"id": call_id, "items": items})


def credit_for_subscription(subscription: str, items: int) -> bytes:
    """Return the text that accepts more events of a subscription."""
    return _notification("rpc.credit", {"subscription": subscription, "items": items})


def item(call_id: Id, data: JSONValue) -> bytes:
    """Return the text of an item of a stream that the peer has called. Raises: SerializationError."""
    return _notification("rpc.item", {"id": call_id, "data": data})


def event(subscription: str, epoch: str, offset: int, data: bytes, key: str | None = None) -> bytes:
    """Return the text of an event.

    Args:
        data: JSON text.
    """
    params: JSONObject = {"subscription": subscription, "epoch": epoch, "offset": offset}
    if key is not None:
        params["key"] = key
    head = encode_json(params)
    return b'{"jsonrpc":"2.0","method":"rpc.event","params":%b,"data":%b}}' % (head[:-1], data)


def gap(
    subscription: str, count: int | None, reason: str, *, epoch: str | None = None, offset: int | None = None
) -> bytes:
    """Return the text that tells of events that the peer does not get.

    Args:
        count: how many; None if that is not known.
        epoch, offset: the position after the gap.
    """
    params: JSONObject = {"subscription": subscription, "count": count, "reason": reason}
    if epoch is not None:
        params |= {"epoch": epoch, "offset": offset}
    return _notification("rpc.gap", params)


def complete(subscription: str, error: PortalError | None = None, *, debug: bool = False) -> bytes:
    """Return the text that ends a subscription of the peer."""
    params: JSONObject = {"subscription": subscription}
    if error is not None:
        params["error"] = error_response(None, error, debug=debug)["error"]
    return _notification("rpc.complete", params)


def go_away(reason: str, delay: float, session: str | None = None) -> bytes:
    """Return the text that asks the peer to connect again elsewhere, in `delay` seconds."""
    params: JSONObject = {"reason": reason, "delay": delay}
    if session is not None:
        params["session"] = session
    return _notification("rpc.goaway", params)


def _notification(method: str, params: JSONObject) -> bytes:
    return encode_json(request(None, method, params, notification=True))
