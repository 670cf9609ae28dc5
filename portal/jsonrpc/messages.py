"""JSON-RPC 2.0 messages, decoded and encoded without I/O for every transport.

A message may have one member beyond the specification: `meta`, an object with the data that HTTP sends in headers. A
value that is not a message becomes an Invalid with the error to respond with. So one bad message does not affect the
others of its batch.

Sources: JSON-RPC 2.0 specification, sections 4 (requests), 5 (responses), 5.1 (error codes) and 6 (batches).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple, TypeGuard, TypeVar

from .. import errors
from .._internal.json_text import JSONObject, JSONValue
from ..errors import (
    FunctionError,
    PortalError,
    ProtocolError,
    SerializationError,
)

__all__ = [
    "MAX_BATCH",
    "Id",
    "Invalid",
    "JSONRPCResponse",
    "Message",
    "Messages",
    "Request",
    "classify",
    "decode",
    "error_from",
    "error_response",
    "request",
    "response",
]

#: The largest number of messages in a batch.
MAX_BATCH = 100

Id = str | int | float | None
Text = TypeVar("Text", bytes, str, bytes | str)

_JSON_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),  # before int, its base class
    ((int, float), "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request or a notification.

    Attributes:
        id: the id that the response repeats; None for a notification and for a request whose id is null.
        method: the name of the called method.
        params: a dict by name or a list by position; {} if the request has none.
        notification: whether the message has no id, so that it gets no response.
        meta: the `meta` member, or None.
    """

    id: Id
    method: str
    params: JSONObject | list[JSONValue]
    notification: bool = False
    meta: JSONObject | None = None


@dataclass(frozen=True, slots=True)
class JSONRPCResponse:
    """The peer's response to a request from this side.

    Attributes:
        id: the id of the request.
        result: the result; None if there is an error.
        error: the error, in the class that the peer raised, or None.
        meta: the `meta` member, or None.
    """

    id: Id
    result: JSONValue = None
    error: PortalError | None = None
    meta: JSONObject | None = None


@dataclass(frozen=True, slots=True)
class Invalid:
    """A value that is not a message.

    Attributes:
        id: the id for the response; None if the value has no valid id.
        error: the error for the response.
        is_response: whether the value is a malformed response, which gets no response itself.
    """

    id: Id
    error: PortalError
    is_response: bool = False


Message = Request | JSONRPCResponse | Invalid


class Messages(NamedTuple):
    """The messages of one JSON text.

    Attributes:
        messages: the messages, in order.
        is_batch: whether they arrived as a batch, so that the responses are sent as one.
    """

    messages: list[Message]
    is_batch: bool


def decode(data: Text, decode_json: Callable[[Text], JSONValue], *, responses: bool = False) -> Messages:
    """Return the messages in a JSON text; one Invalid with code -32700 if it is not JSON.

    Args:
        decode_json: callable (data) -> value that raises SerializationError.
        responses: see `classify`.
    """
    try:
        value = decode_json(data)
    except SerializationError as error:
        return Messages([Invalid(None, error)], False)
    return classify(value, responses=responses)


def classify(value: JSONValue, *, responses: bool = False) -> Messages:
    """Return the messages in a JSON value. Raises nothing.

    Args:
        responses: whether the peer may also respond on this connection, as over a WebSocket. If so, a message with
            `result` or `error` is a JSONRPCResponse; if not, it is Invalid.
    """
    if not isinstance(value, list):
        return Messages([_message(value, responses)], False)
    if not value:
        return Messages([_invalid(None, "the batch is empty")], False)
    if len(value) > MAX_BATCH:
        return Messages([_invalid(None, f"a batch must have at most {MAX_BATCH} messages, got {len(value)}")], False)
    return Messages([_message(element, responses) for element in value], True)


def _message(value: JSONValue, responses: bool) -> Message:
    if not isinstance(value, dict):
        return _invalid(None, f"a message must be an object, got {_json_type(value)}")
    message_id = value.get("id")
    if not _is_id(message_id):
        return _invalid(None, f"id must be valid Unicode, a finite number or null, got {_json_type(message_id)}")
    reason = _fault(value)
    if reason:
        is_response = responses and "method" not in value and ("result" in value or "error" in value)
        return _invalid(message_id, reason, is_response)
    if responses and "method" not in value:
        return _response(message_id, value)
    reason = _request_fault(value)
    if reason:
        return _invalid(message_id, reason)
    checked: dict[str, Any] = value
    return Request(message_id, checked["method"], checked.get("params", {}), "id" not in value, checked.get("meta"))


def _response(message_id: Id, value: JSONObject) -> Message:
    if ("result" in value) == ("error" in value):
        return _invalid(message_id, "a message must have exactly one of method, result and error", "result" in value)
    checked: dict[str, Any] = value
    if "result" in value:
        return JSONRPCResponse(message_id, value["result"], meta=checked.get("meta"))
    return JSONRPCResponse(message_id, error=error_from(value["error"]), meta=checked.get("meta"))


def _invalid(message_id: Id, reason: str, is_response: bool = False) -> Invalid:
    kind = "response" if is_response else "request"
    return Invalid(message_id, ProtocolError(f"invalid {kind}: {reason}"), is_response)


def _json_type(value: JSONValue) -> str:
    """Return the JSON type of a value, for messages."""
    for kinds, name in _JSON_TYPES:
        if isinstance(value, kinds):
            return name
    return "null"


def _is_id(value: JSONValue) -> TypeGuard[Id]:
    # bool is a subclass of int. A string with a lone surrogate, or infinity from 1e999, could not be sent back.
    if type(value) is float:
        return isfinite(value)
    return value is None or type(value) is int or (type(value) is str and _encodable(value))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(value: JSONObject) -> str:
    if value.get("jsonrpc") != "2.0":
        return 'jsonrpc must be "2.0"'
    if not isinstance(value.get("meta", {}), dict):
        return f"meta must be an object, got {_json_type(value['meta'])}"
    return ""


def _request_fault(value: JSONObject) -> str:
    method = value.get("method")
    if not isinstance(method, str) or not _encodable(method):
        return f"method must be valid Unicode, got {_json_type(method)}" if "method" in value else "method is missing"
    if not isinstance(value.get("params", {}), dict | list):
        return f"params must be an object or an array, got {_json_type(value['params'])}"
    return ""


def request(
    message_id: Id,
    method: str,
    params: Mapping[str, JSONValue] | list[JSONValue] | None = None,
    *,
    notification: bool = False,
    meta: Mapping[str, JSONValue] | None = None,
) -> JSONObject:
    """Return a request as a JSON value; a notification has no id."""
    message: JSONObject = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params if isinstance(params, list) else dict(params)
    if not notification:
        message["id"] = message_id
    if meta is not None:
        message["meta"] = dict(meta)
    return message


def response(message_id: Id, result: JSONValue) -> JSONObject:
    """Return the response with a result as a JSON value."""
    return {"jsonrpc": "2.0", "result": result, "id": message_id}


def error_response(message_id: Id, error: PortalError, *, debug: bool = False) -> JSONObject:
    """Return the response with an error as a JSON value.

    Args:
        debug: whether the client sees the message of an exception that the function raised, as over HTTP.
    """
    return {"jsonrpc": "2.0", "error": _error_object(error, debug), "id": message_id}


def _error_object(error: PortalError, debug: bool) -> JSONObject:
    error = error.sendable()
    data: JSONObject = {
        "code": error.code,
        "status": error.status,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }
    if error.delivery is not None:
        data["delivery"] = error.delivery
    sent: JSONObject = {"code": error.rpc_code, "message": error.message_for_client(debug=debug), "data": data}
    data |= error.details_for_client(debug=debug)
    if debug:
        data["stack"] = error.stack_trace()
    return sent


def _classes() -> dict[int, type[PortalError]]:
    found: dict[int, type[PortalError]] = {}
    for name in errors.__all__:
        cls = getattr(errors, name)
        if isinstance(cls, type) and issubclass(cls, PortalError):
            found.setdefault(cls.rpc_code, cls)
    return found


_BY_RPC_CODE = _classes() | {PortalError.rpc_code: PortalError}
_RESERVED = range(-32768, -31999)


def error_from(error_object: JSONValue) -> PortalError:
    """Return the error for an error object, in the class that the peer raised.

    The object of another library has only a number. A number that the specification leaves to applications becomes a
    FunctionError; an unknown reserved number becomes a plain PortalError. `context["rpc_code"]` has the number.
    """
    code = error_object.get("code") if isinstance(error_object, dict) else None
    if not isinstance(error_object, dict) or not isinstance(code, int) or isinstance(code, bool):
        return ProtocolError("the peer's error must be an object with a whole number as code")
    data = error_object.get("data")
    message = str(error_object.get("message", ""))
    if isinstance(data, dict) and isinstance(data.get("code"), str):
        context = {"request_id": data["request_id"]} if data.get("request_id") else {}
        return PortalError.from_dict(data | {"message": message, "type": data.get("exception", ""), "context": context})
    cls = _BY_RPC_CODE.get(code, PortalError if code in _RESERVED else FunctionError)
    return cls(message or f"the peer responded with error {code}", context={"rpc_code": code})
