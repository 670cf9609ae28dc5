"""Calls of every function of the example and of the every-type service, for generated clients of any language.

Each call is the id of an operation, the JSON body, and the JSON result. The text of a stream is its result. A result
of None stands for null, and PROBLEM for any problem document.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

__all__ = ["EVERY_TYPE", "ORDERS", "PROBLEM", "Call", "fits"]

PROBLEM = "a problem document"


class Call(NamedTuple):
    """One call: operation, body, result."""

    operation: str
    body: Any
    result: Any


_KEY = "5f0c0a4e-7d5c-4f0a-9a57-1b7f6a9f3f11"
_POINT = {"x": 1.5, "y": 2.0, "label": "here", "tags": ["a"]}
_TREE = {"name": "root", "children": [{"name": "leaf", "children": []}]}
_CONTACT = {"name": "Ann", "kind": "colleague", "nicknames": ["A"]}
_RAW = {"kind": "circle", "size": 2.5, "colour": None, "corner": [1, 2], "more": {"a": 1.5}}
_SCALARS = {"flag": True, "whole": 3, "real": 1.5, "text": "ä", "nothing": None}
_FEW = {"percent": 50.0, "between": 5, "even": 4, "code": "ABC", "name": "Ann", "few": [1, 2]}
_CONTAINERS = {
    "several": [1, 2],
    "pair": [1, "a"],
    "row": [1.5],
    "distinct": ["a"],
    "table": {"a": 1.5},
    "frozen": [3],
    "by_code": {"de": 1},
}
_RPC = {"jsonrpc": "2.0", "method": "add@1", "params": {"a": 1, "b": 2}, "id": 1}

#: Of tests.support.every_type_service.
EVERY_TYPE = [
    Call("add", {"a": "1.50", "b": "2"}, "2"),
    Call("add", {"a": "12345678901234567890.12"}, "12345678901234567890.12"),
    Call("add_v1", {"a": 1, "b": 2}, 3),
    Call("greet_people_now", {"name": "Ann"}, "hello Ann"),
    Call("all_types_scalars", _SCALARS, _SCALARS),
    Call("all_types_choices", {"size": "small", "level": 2, "word": "a", "maybe": "x"}, "small"),
    Call("all_types_choices", {"size": 42, "level": 1, "word": 3, "maybe": 1}, 42),
    Call("all_types_choices", {"size": 42, "level": 1, "word": None}, 42),
    Call("all_types_united", {"one": 5}, 5),
    Call("all_types_united", {"one": [1, 2], "other": True}, [1, 2]),
    Call("all_types_united", {"one": _POINT, "other": "2026-01-31"}, _POINT),
    Call("all_types_moment", {"at": "2026-01-31T09:00:00+00:00"}, "2026-01-31T09:00:00+00:00"),
    Call(
        "all_types_calendar",
        {"on": "2026-01-31", "when": "09:30:00", "span": "PT90S"},
        ["2026-01-31", "09:30:00", "PT90S"],
    ),
    Call("all_types_exact", {"amount": "1.50", "key": _KEY}, ["1.50", _KEY]),
    Call("all_types_binary", {"blob": "QUI="}, "QUI="),
    Call(
        "all_types_record",
        {
            "point": _POINT,
            "person": {"name": "Ann", "born": "2000-02-29"},
            "span": {"start": 1, "stop": 2},
            "tree": _TREE,
        },
        _POINT,
    ),
    Call("all_types_tree", {"tree": _TREE}, _TREE),
    Call("all_types_containers", _CONTAINERS, ["a"]),
    Call("all_types_constrained", _FEW, "Ann"),
    Call("all_types_anything", {"value": {"a": [1, None]}, "more": ["x", 2]}, {"a": [1, None]}),
    Call("all_types_anything", {"value": 1.5}, 1.5),
    Call("all_types_nothing", {}, None),
    Call("all_types_marshmallow", {"contact": _CONTACT}, _CONTACT),
    Call("all_types_raw", _RAW, _RAW),
    Call("all_types_count", {"stop": 3}, "0\n1\n2\n"),
    Call("all_types_points", {"number": 1}, '{"x":0.0,"y":0.0,"label":null,"tags":[]}\n'),
    Call("all_types_old", {"a": 4}, 4),
    Call("call_json_rpc", _RPC, {"jsonrpc": "2.0", "id": 1, "result": 3}),
    Call(
        "call_json_rpc",
        [_RPC, _RPC | {"id": "b"}],
        [{"jsonrpc": "2.0", "id": 1, "result": 3}, {"jsonrpc": "2.0", "id": "b", "result": 3}],
    ),
]

_ORDER = {
    "customer": {"name": "Ann Li", "email": "ann@example.com"},
    "items": [{"sku": "PEN-001", "quantity": 10, "unit_price": "1.20"}],
    "coupon": "WELCOME10",
    "deliver_on": "2026-12-01",
}

#: Of portal.examples.orders. The results of `price` and `history` are compared in part; see `fits`.
ORDERS = [
    Call("orders_add", {"a": 1, "b": 2.5}, 3.5),
    Call(
        "orders_quote",
        {"sku": "PEN-001", "quantity": 3},
        {"sku": "PEN-001", "quantity": 3, "unit_price": "1.20", "total": "3.60"},
    ),
    Call("orders_price", {"order": _ORDER}, {"customer": "Ann Li", "total": "15.70", "deliver_on": "2026-12-01"}),
    Call(
        "orders_history", {"customer": "ann", "limit": 1}, '{"number":"ann-1","placed":"2026-01-08","total":"10.50"}\n'
    ),
    Call("orders_slow", {"seconds": 0.01}, 0.01),
    Call("orders_fail", {"reason": "out of stock"}, PROBLEM),
]


def fits(result: Any, expected: Any) -> bool:
    """Return whether a result is the expected one. An object may have more members: clients add those with defaults."""
    if isinstance(expected, dict):
        return isinstance(result, dict) and all(fits(result.get(name), value) for name, value in expected.items())
    if isinstance(expected, list):
        return (
            isinstance(result, list)
            and len(result) == len(expected)
            and all(fits(one, other) for one, other in zip(result, expected, strict=True))
        )
    if isinstance(expected, bool) or isinstance(result, bool):
        return result is expected
    return bool(result == expected) or (isinstance(expected, str) and _moment(expected) == _moment(result) is not None)


def _moment(text: object) -> datetime | None:
    """Return the moment of a date or date-time; clients write it in several ways."""
    with suppress(ValueError, TypeError):
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return None
