"""Objects: a call with an order of 20 dataclasses, compared with pydantic, msgspec and a function written by hand."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from portal import Consumer, LocalPortal
from portal.schema import Schema

from .order import ORDER, Item, Order, copy_order
from .report import Part, Target
from .timing import time_by_turns

__all__ = ["compare_objects", "total"]


def total(order: Order) -> float:
    """Return a number that costs nothing to compute, so that conversion is what is measured."""
    return order.items[-1].price


def _by_hand(data: dict[str, Any]) -> Order:
    return Order(data["customer"], [Item(one["sku"], one["quantity"], one["price"]) for one in data["items"]])


_IN, _BOTH = "consumer.call_at, object in", "consumer.call_at, object in and out"
_LOAD, _DUMP = "Schema.load", "Schema.dump"
_PYDANTIC, _PYDANTIC_BOTH = "pydantic.validate_call, object in", "pydantic.validate_call and dump_python"
_PYDANTIC_LOAD, _PYDANTIC_DUMP = "pydantic validate_python", "pydantic dump_python, not checked"
_MSGSPEC, _HAND = "msgspec.convert and a call", "by hand, not checked, and a call"

_TARGETS = (
    Target(_IN, _PYDANTIC, "<=", 1.3),
    Target(_IN, _MSGSPEC),
    Target(_IN, _HAND),
    Target(_BOTH, _PYDANTIC_BOTH, "<=", 1.3),
    Target(_LOAD, _PYDANTIC_LOAD, "<=", 1.0),
    Target(_DUMP, _PYDANTIC_DUMP, "<=", 1.0),
)


def compare_objects(repeats: int = 15) -> Part:
    """Measure the statements in turn, in this process."""
    part = Part("Part 6: an order of 20 dataclasses inside one process", "ns a call, least", _TARGETS, rates=False)
    schema = Schema.of(Order)
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        portal.apply(total)
        portal.apply(copy_order)
        scope: dict[str, Any] = {
            "consumer": consumer,
            "params": {"order": ORDER},
            "data": ORDER,
            "load": schema.load,
            "dump": schema.dump,
            "native": schema.load(ORDER),
            "by_hand": _by_hand,
            "total": total,
        }
        statements = {
            _IN: "consumer.call_at('local://total', params)",
            _BOTH: "consumer.call_at('local://copy_order', params)",
            _LOAD: "load(data)",
            _DUMP: "dump(native)",
            _HAND: "total(by_hand(data))",
        }
        if find_spec("pydantic"):
            import pydantic

            adapter: Any = pydantic.TypeAdapter(Order)
            scope |= {
                "checked": pydantic.validate_call(total),
                "checked_copy": pydantic.validate_call(copy_order),
                "validate_python": adapter.validate_python,
                "dump_python": adapter.dump_python,
            }
            statements |= {
                _PYDANTIC: "checked(data)",
                _PYDANTIC_BOTH: "dump_python(checked_copy(data))",
                _PYDANTIC_LOAD: "validate_python(data)",
                _PYDANTIC_DUMP: "dump_python(native)",
            }
        else:
            part.skipped["pydantic"] = "pydantic is not installed"
        if find_spec("msgspec"):
            import msgspec

            scope |= {"convert": msgspec.convert, "Order": Order}
            statements[_MSGSPEC] = "total(convert(data, Order))"
        else:
            part.skipped["msgspec"] = "msgspec is not installed"
        part.rounds = time_by_turns(statements, scope, repeats=repeats)
    part.notes.append("Portal checks what goes in and out, and gives each call an id, a context and counters.")
    return part
