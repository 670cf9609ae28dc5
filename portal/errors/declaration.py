"""Check the declaration of an error class, so that its errors come back from a transport unchanged."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

__all__ = ["check_class", "extend", "inherited"]

#: Names that errors, problem documents and JSON-RPC errors use. A JSON-RPC error has a member `type` as `exception`.
_RESERVED = frozenset(
    (
        *("error", "message", "code", "status", "retryable", "delivery", "hint", "scheme", "address", "context"),
        *("cause", "stack", "args", "title", "detail", "instance", "request_id", "data", "exception"),
        *("exposure", "received"),
    )
)
#: Parameters that every `__init__` of an error may have.
_COMMON = frozenset(
    (
        *("self", "message", "scheme", "address", "code", "status", "retryable"),
        *("delivery", "hint", "context", "cause"),
    )
)


def inherited(cls: type, name: str) -> tuple[str, ...]:
    """Return the names that a class and its bases list under `name`, those of the bases first."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        names |= dict.fromkeys(base.__dict__.get(name, ()))
    return tuple(names)


def extend(cls: Any, declared: Any) -> None:
    """Make an error class of a server a subclass of the one that a client in this process has declared before.

    The program may then catch either of them, whichever module it imports first. The class keeps its own `__init__`,
    and that of the client is passed over.
    """
    own = declared.__init__

    @functools.wraps(own)
    def init(self: Any, *args: Any, **named: Any) -> None:
        if type(self) is declared:
            own(self, *args, **named)
        else:
            super(declared, self).__init__(*args, **named)

    declared.__init__ = init
    cls.__bases__ = (*(base for base in cls.__bases__ if base not in declared.__mro__), declared)


def check_class(cls: Any, *, abstract: bool, taken: Mapping[str, type]) -> None:
    """Reject an error class whose errors would not come back from a transport unchanged.

    Args:
        cls: the class.
        abstract: whether it is only a base of others.
        taken: the existing classes by code.

    Raises: TypeError.
    """
    own, name = cls.__dict__, cls.__name__
    other = taken.get(cls.code) if "code" in own else None
    if other is not None and _full_name(other) != _full_name(cls):
        raise TypeError(f"{name}.code must be a code of its own, got {cls.code!r} of {other.__name__}")
    reserved = sorted(_RESERVED.intersection(cls.members))
    if reserved:
        raise TypeError(f"{name}.members must not have {reserved[0]!r}, which every error has; rename it")
    known = {member for base in cls.__bases__ for member in getattr(base, "members", ())}
    if "code" not in own and not abstract and not known.issuperset(cls.members):
        raise TypeError(
            f"{name} has members and must have a code, by which callers find the class; set one, or pass "
            "abstract=True for a class that is only a base of others"
        )
    for parameter in _parameters(own.get("__init__")):
        if parameter not in _COMMON.union(cls.members, cls.transient):
            raise TypeError(
                f"{name}.__init__ takes {parameter!r}, which other processes would not get; "
                f"add it to {name}.members, or to {name}.transient if it stays in this process"
            )


def _full_name(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _parameters(init: Any) -> list[str]:
    if init is None:
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, one in inspect.signature(init).parameters.items() if one.kind not in kinds]
