"""A call inside one process, compared with pydantic's `validate_call` around the same function."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from portal import Address, Consumer, LocalPortal

from .report import Part, Target
from .timing import time_by_turns
from .workload import add

__all__ = ["compare_local"]

_BARE = "the function itself"
_PYDANTIC = "pydantic.validate_call"
_PYDANTIC_RETURN = "pydantic.validate_call, result too"
_RESOLVED = "resolved add(a=1.0, b=2.0)"
_CALL_AT = "consumer.call_at('local://add', {...})"
_CALL_AT_ADDRESS = "consumer.call_at(address, {...}), address an Address"

_TARGETS = (
    Target(_CALL_AT, _PYDANTIC, "<=", 2.0),
    Target(_RESOLVED, _PYDANTIC, "<=", 1.0),
    Target(_CALL_AT, _PYDANTIC_RETURN),
    Target(_RESOLVED, _PYDANTIC_RETURN),
    Target(_CALL_AT_ADDRESS, _CALL_AT, "<=", 1.25),
)


def compare_local(repeats: int = 15) -> Part:
    """Measure the statements in turn, in this process."""
    part = Part("Part 4: a call inside one process", "ns a call, least", _TARGETS, rates=False)
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        scope: dict[str, Any] = {
            "bare": add,
            "consumer": consumer,
            "resolved": consumer.resolve(portal.apply(add)),
            "address": Address.parse("local://add"),
        }
        statements = {
            _BARE: "bare(a=1.0, b=2.0)",
            _RESOLVED: "resolved(a=1.0, b=2.0)",
            _CALL_AT: "consumer.call_at('local://add', {'a': 1.0, 'b': 2.0})",
            _CALL_AT_ADDRESS: "consumer.call_at(address, {'a': 1.0, 'b': 2.0})",
        }
        if find_spec("pydantic"):
            import pydantic

            scope["checked"] = pydantic.validate_call(add)
            scope["checked_both"] = pydantic.validate_call(validate_return=True)(add)
            statements[_PYDANTIC] = "checked(a=1.0, b=2.0)"
            statements[_PYDANTIC_RETURN] = "checked_both(a=1.0, b=2.0)"
        else:
            part.skipped[_PYDANTIC] = "pydantic is not installed"
        for name, statement in list(statements.items()):
            if (result := eval(statement, scope)) != 3.0:
                part.skipped[name] = f"it returns {result!r}"
                del statements[name]
        part.rounds = time_by_turns(statements, scope, repeats=repeats)
    part.notes.append("Portal validates the result as well. pydantic does so only where the row says it.")
    return part
