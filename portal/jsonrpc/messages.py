"""JSON-RPC 2.0 messages: bytes or values in, messages out, and back. The same for every transport.

A message has one member beyond the specification: `meta`, an object that carries what headers carry over HTTP. What is
no message becomes an Invalid, which holds the error to answer with, so that one bad message of a batch costs the
others nothing.

Sources: JSON-RPC 2.0 specification, sections 4 (requests), 5 (responses), 5.1 (error codes) and 6 (batches).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from .. import errors
from ..errors import (
    FunctionError,
    PortalError,
    ProtocolError,
    SerializationError,
)

__all__ = [
    "MAX_BATCH",
    "Answer",
    "Id",
    "Invalid",
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

#: Messages that one batch may hold.
MAX_BATCH = 100

Id = str | int | float | None


@dataclass(frozen=True, slots=True)
class Request:
    """A request or a notification.

    Attributes:
        id: to be sent back; None of a notification, and of a request whose id is null.
        method: what is called.
        params: a dict by name, or a list by position; {} where it was left out.
        notification: whether no answer is wanted: there was no id.
        meta: the `meta` member, or None.
    """

    id: Id
    method: str
    params: dict[str, Any] | list[Any]
    notification: bool = False
    meta: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer answers to a request of ours.

    Attributes:
        id: of the request.
        result: the result; None where there is an error.
        error: the error, as the class it was raised as, or None.
    """

    id: Id
    result: Any = None
    error: PortalError | None = None


@dataclass(frozen=True, slots=True)
class Invalid:
    """What is no message; `error` is to be answered under `id`, which is None where it could not be read."""

    id: Id
    error: PortalError


Message = Request | Answer | Invalid


class Messages(NamedTuple):
    """The messages of one text, in order, and whether they came as a batch and are to be answered as one."""

    messages: list[Message]
    is_batch: bool


def decode(data: bytes, decode_json: Callable[[bytes], Any], *, answers: bool = False) -> Messages:
    """The messages in a JSON text; one Invalid with -32700 where it is no JSON.

    Args:
        decode_json: bytes -> value; raises SerializationError.
        answers: as in `classify`.
    """
    try:
        value = decode_json(data)
    except SerializationError as error:
        return Messages([Invalid(None, error)], False)
    return classify(value, answers=answers)


def classify(value: Any, *, answers: bool = False) -> Messages:
    """The messages in a JSON value; never raises.

    Args:
        answers: whether the peer may answer here as well as ask, as over a WebSocket; a message with `result` or
            `error` is an Answer then, and Invalid otherwise.
    """
    if not isinstance(value, list):
        return Messages([_message(value, answers)], False)
    if not value:
        return Messages([_invalid(None, "an empty batch")], False)
    if len(value) > MAX_BATCH:
        return Messages([_invalid(None, f"a batch of {len(value)} messages; at most {MAX_BATCH} are taken")], False)
    return Messages([_message(one, answers) for one in value], True)


def _message(value: Any, answers: bool) -> Message:
    if not isinstance(value, dict):
        return _invalid(None, "a message must be a JSON object")
    found = value.get("id")
    if not _is_id(found):
        return _invalid(None, "id must be text, a number or null")
    reason = _fault(value)
    if reason:
        return _invalid(found, reason)
    if answers and "method" not in value:
        return _answer(found, value)
    reason = _request_fault(value)
    if reason:
        return _invalid(found, reason)
    return Request(found, value["method"], value.get("params", {}), "id" not in value, value.get("meta"))


def _answer(found: Id, value: dict[str, Any]) -> Message:
    if ("result" in value) == ("error" in value):
        return _invalid(found, "a message has a method, a result or an error")
    if "result" in value:
        return Answer(found, value["result"])
    return Answer(found, error=error_from(value["error"]))


def _invalid(found: Id, reason: str) -> Invalid:
    return Invalid(found, ProtocolError(f"invalid request: {reason}"))


def _is_id(value: Any) -> bool:
    # True is an int to Python and no number to JSON; text with a lone surrogate and 1e999 could not be sent back
    if type(value) is float:
        return isfinite(value)
    return value is None or type(value) is int or (type(value) is str and _encodable(value))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(value: dict[str, Any]) -> str:
    if value.get("jsonrpc") != "2.0":
        return 'jsonrpc must be "2.0"'
    if not isinstance(value.get("meta", {}), dict):
        return "meta must be an object"
    return ""


def _request_fault(value: dict[str, Any]) -> str:
    method = value.get("method")
    if not isinstance(method, str) or not _encodable(method):
        return "method must be text"
    if not isinstance(value.get("params", {}), dict | list):
        return "params must be an object or an array"
    return ""


def request(
    found: Id,
    method: str,
    params: Mapping[str, Any] | list[Any] | None = None,
    *,
    notification: bool = False,
    meta: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The JSON value of a request; of a notification, without its id."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params if isinstance(params, list) else dict(params)
    if not notification:
        message["id"] = found
    if meta is not None:
        message["meta"] = dict(meta)
    return message


def response(found: Id, result: Any) -> dict[str, Any]:
    """The JSON value that answers a request with a result."""
    return {"jsonrpc": "2.0", "result": result, "id": found}


def error_response(found: Id, error: PortalError, *, debug: bool = False) -> dict[str, Any]:
    """The JSON value that answers a request with an error.

    What a function's own exception says goes out only with debug=True, as over HTTP.
    """
    return {"jsonrpc": "2.0", "error": _error_object(error, debug), "id": found}


def _error_object(error: PortalError, debug: bool) -> dict[str, Any]:
    error = error.sendable()
    data: dict[str, Any] = {
        "code": error.code,
        "status": error.status,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }
    if error.delivery is not None:
        data["delivery"] = error.delivery
    if isinstance(error, FunctionError) and error.private and not debug:
        message = error.public_message
        return {"code": error.rpc_code, "message": message, "data": data}
    known = error.to_dict(debug=debug)
    if error.hint:
        data["hint"] = error.hint
    members = {name: known[name] for name in error.members if known[name] is not None}
    if "type" in members:
        members["exception"] = members.pop("type")  # as in a problem document, where `type` is taken
    data |= members
    if debug:
        data["stack"] = known["stack"]
    return {"code": error.rpc_code, "message": error.message, "data": data}


def _classes() -> dict[int, type[PortalError]]:
    found: dict[int, type[PortalError]] = {}
    for name in errors.__all__:
        cls = getattr(errors, name)
        if isinstance(cls, type) and issubclass(cls, PortalError):
            found.setdefault(cls.rpc_code, cls)
    return found


_BY_RPC_CODE = _classes() | {PortalError.rpc_code: PortalError}
_RESERVED = range(-32768, -31999)


def error_from(error_object: Any) -> PortalError:
    """The error that an error object stands for, as the class that was raised there.

    A peer that is not of ours is understood by the number alone: a number that the specification leaves to
    applications is a FunctionError, a reserved one that nobody knows a plain PortalError. The number is in
    `context["rpc_code"]` then.
    """
    if not isinstance(error_object, dict) or type(error_object.get("code")) is not int:
        return ProtocolError("the peer answered with an error that is no JSON-RPC error object")
    code, data = error_object["code"], error_object.get("data")
    message = str(error_object.get("message", ""))
    if isinstance(data, dict) and isinstance(data.get("code"), str):
        context = {"request_id": data["request_id"]} if data.get("request_id") else {}
        return PortalError.from_dict(data | {"message": message, "type": data.get("exception", ""), "context": context})
    cls = _BY_RPC_CODE.get(code, PortalError if code in _RESERVED else FunctionError)
    return cls(message or f"the peer answered with error {code}", context={"rpc_code": code})
