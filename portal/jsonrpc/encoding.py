"""Encode responses of JSON-RPC as JSON text, so that each request gets one even if its error cannot be sent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from .._internal.json_encoder import encode_error_json, encode_json, join_in_steps
from .._internal.json_text import JSONObject, JSONValue
from .._internal.log import get_logger
from ..errors import PortalError, SerializationError, ValidationError
from ..schema.jsondata import MAX_DEPTH, json_faults
from .messages import Id, error_response, response

__all__ = ["encode_batch", "encode_error", "encode_response", "may_be_deep", "require_shallow"]

_log = get_logger("portal.jsonrpc")
_LARGE = 512 * 1024  # bytes of a result whose copy would keep other threads from running for a millisecond


def encode_response(message_id: Id, result: JSONValue, meta: JSONObject | None = None) -> bytes:
    """Return the response with a result as JSON text.

    A large one is made in steps, so that other threads run meanwhile.

    Raises: SerializationError (executed) for a result that JSON cannot carry.
    """
    try:
        if type(message_id) is int and not meta:  # nearly always
            text = encode_json(result)
            if len(text) > _LARGE:
                return join_in_steps((b'{"jsonrpc":"2.0","result":', text, b',"id":%d}' % message_id))
            return b'{"jsonrpc":"2.0","result":%b,"id":%d}' % (text, message_id)
        message = response(message_id, result)
        if meta:
            message["meta"] = meta
        return encode_json(message)
    except SerializationError as error:
        error.delivery = "executed"
        raise


def encode_batch(responses: Sequence[bytes]) -> bytes:
    """Return the response to a batch from the responses to its messages, of which there is at least one.

    A large one is joined in steps, so that other threads run meanwhile.
    """
    return join_in_steps(chain((b"[", responses[0]), *((b",", one) for one in responses[1:]), (b"]",)))


def encode_error(message_id: Id, error: PortalError, *, debug: bool = False, meta: JSONObject | None = None) -> bytes:
    """Return the response with an error as JSON text; a plain error if JSON cannot carry the members of this one.

    Args:
        debug: whether the client sees the message of an exception that the function raised.
    """
    try:
        message = error_response(message_id, error, debug=debug)
        if meta:
            message["meta"] = meta
        return encode_error_json(message)
    except SerializationError:  # a batch gets its responses even if JSON cannot carry the members of one error
        _log.exception("an error cannot be sent as JSON")
        plain = PortalError("internal error", context={"request_id": error.request_id})
        return encode_json(error_response(message_id, plain))


def may_be_deep(text: bytes | str) -> bool:
    """Return whether JSON text may be nested deeper than `MAX_DEPTH`.

    Each level takes an opening bracket, so counting those settles nearly every text without walking its value.
    """
    if isinstance(text, str):
        return text.count("{") + text.count("[") > MAX_DEPTH
    return text.count(b"{") + text.count(b"[") > MAX_DEPTH


def require_shallow(params: JSONValue) -> None:
    """Require parameters that are nested at most `MAX_DEPTH` deep. Raises: ValidationError."""
    faults = [fault for fault in json_faults(params) if fault.rule == "depth"]
    if faults:
        raise ValidationError(errors=faults)
