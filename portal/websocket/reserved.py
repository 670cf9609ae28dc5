"""Read the parameters of the reserved notifications, such as rpc.cancel and rpc.event."""

from __future__ import annotations

from math import isfinite

from .._internal.json_text import JSONObject, JSONValue
from ..errors import Fault, ValidationError
from ..jsonrpc.messages import Id, Request, error_from
from .events import CompleteReceived, EventReceived, GapReceived, GoAwayReceived

__all__ = [
    "MAX_CREDIT",
    "complete_of",
    "credit_of",
    "event_of",
    "gap_of",
    "go_away_of",
    "id_of",
    "initial_credit",
    "item_of",
]

#: Items that one rpc.credit may allow.
MAX_CREDIT = 1_000_000


def _named(request: Request, *names: str) -> JSONObject:
    params = request.params
    return params if isinstance(params, dict) else dict(zip(names, params, strict=False))


def _reject(request: Request, name: str, expected: str) -> ValidationError:
    return ValidationError(errors=[Fault(f"/{name}", f"must be {expected}", "type")])


def _text(request: Request, params: JSONObject, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise _reject(request, name, "a string")
    return value


def _optional_text(request: Request, params: JSONObject, name: str) -> str | None:
    return None if params.get(name) is None else _text(request, params, name)


def _count(request: Request, params: JSONObject, name: str) -> int:
    value = params.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _reject(request, name, "a whole number of at least 0")
    return value


def _id(request: Request, value: JSONValue) -> Id:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise _reject(request, "id", "a string or a number")
    return value


def id_of(request: Request) -> Id:
    """Return the id that an rpc.cancel names. Raises: ValidationError."""
    return _id(request, _named(request, "id").get("id"))


def credit_of(request: Request) -> tuple[Id, str | None, int]:
    """Return (id, subscription, items) of an rpc.credit; one of the first two is None. Raises: ValidationError."""
    params = _named(request, "id", "items")
    items = params.get("items")
    if not isinstance(items, int) or isinstance(items, bool) or not 1 <= items <= MAX_CREDIT:
        raise _reject(request, "items", f"a whole number from 1 to {MAX_CREDIT:,}")
    if "subscription" in params:
        return None, _text(request, params, "subscription"), items
    return _id(request, params.get("id")), None, items


def initial_credit(request: Request) -> int | None:
    """Return the credit in the `meta` of a request; None without a limit. Raises: ValidationError."""
    credit = request.meta.get("credit") if request.meta else None
    if credit is None:
        return None
    if not isinstance(credit, int) or isinstance(credit, bool) or not 0 <= credit <= MAX_CREDIT:
        words = f"must be a whole number from 0 to {MAX_CREDIT:,}"
        raise ValidationError(errors=[Fault("/meta/credit", words, "type")])
    return credit


def item_of(request: Request) -> tuple[Id, JSONValue]:
    """Return (id, data) of an rpc.item. Raises: ValidationError."""
    params = _named(request, "id", "data")
    if "data" not in params:
        raise _reject(request, "data", "present")
    return _id(request, params.get("id")), params["data"]


def event_of(request: Request) -> EventReceived:
    """Return the event of an rpc.event. Raises: ValidationError."""
    params = _named(request, "subscription", "epoch", "offset", "data", "key")
    if "data" not in params:
        raise _reject(request, "data", "present")
    return EventReceived(
        _text(request, params, "subscription"),
        _text(request, params, "epoch"),
        _count(request, params, "offset"),
        params["data"],
        _optional_text(request, params, "key"),
    )


def gap_of(request: Request) -> GapReceived:
    """Return the gap of an rpc.gap. Raises: ValidationError."""
    params = _named(request, "subscription", "count", "reason", "epoch", "offset")
    return GapReceived(
        _text(request, params, "subscription"),
        None if params.get("count") is None else _count(request, params, "count"),
        _text(request, params, "reason"),
        _optional_text(request, params, "epoch"),
        None if params.get("offset") is None else _count(request, params, "offset"),
    )


def complete_of(request: Request) -> CompleteReceived:
    """Return the end of a subscription of an rpc.complete. Raises: ValidationError."""
    params = _named(request, "subscription", "error")
    error = params.get("error")
    return CompleteReceived(_text(request, params, "subscription"), None if error is None else error_from(error))


def go_away_of(request: Request) -> GoAwayReceived:
    """Return the message of an rpc.goaway. Raises: ValidationError."""
    params = _named(request, "reason", "delay", "session")
    delay = params.get("delay", 0)
    if not isinstance(delay, int | float) or isinstance(delay, bool) or not isfinite(delay) or delay < 0:
        raise _reject(request, "delay", "seconds")
    reason = _optional_text(request, params, "reason") or ""
    return GoAwayReceived(reason, float(delay), _optional_text(request, params, "session"))
