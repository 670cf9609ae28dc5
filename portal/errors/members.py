"""Check the members of an error from a peer against the type hints of the `__init__` of its class."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple, get_args, get_origin

__all__ = ["member_from_json"]

_COLLECTIONS = (tuple, set, frozenset)


class _Rule(NamedTuple):
    kinds: frozenset[type] | None  # types of JSON data; None for any
    load: Callable[[Any], Any] | None  # converts JSON data to the member
    default: Any


_ANY = _Rule(None, None, None)


@lru_cache(maxsize=512)
def _rules(cls: type) -> Mapping[str, _Rule]:
    found: dict[str, _Rule] = {}
    for base in reversed(cls.__mro__):
        init = base.__dict__.get("__init__")
        if not isinstance(init, types.FunctionType):
            continue
        try:
            hints = typing.get_type_hints(init)
        except Exception:  # a hint of user code may name anything; its member is then not checked
            hints = {}
        for name, parameter in inspect.signature(init).parameters.items():
            default = None if parameter.default is parameter.empty else parameter.default
            hint = hints.get(name, Any)
            collection = get_origin(hint) or hint
            load = collection if collection in _COLLECTIONS else None
            found[name] = _Rule(_kinds_of(hint), load, default)
    return found


def _kinds_of(hint: Any) -> frozenset[type] | None:
    """Return the types of JSON data that a hint allows, or None if it does not limit them."""
    if hint is None or hint is type(None):
        return frozenset((type(None),))
    if hint in (str, bool, int):
        return frozenset((hint,))
    if hint is float:
        return frozenset((int, float))
    origin = get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        parts = [_kinds_of(part) for part in get_args(hint)]
        return None if None in parts else frozenset(kind for part in parts if part is not None for kind in part)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return frozenset((dict,))
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return frozenset((list,))
    return None


def member_from_json(cls: type, name: str, data: Mapping[str, Any]) -> Any:
    """Return a member of an error from the error's JSON data.

    Args:
        cls: class of the error.
        name: the member.
        data: what the peer sent.

    Returns: the value as the type that `__init__` takes; the default of `__init__`, or None, where the value is absent
        or of another type.
    """
    rule = _rules(cls).get(name, _ANY)
    if name not in data:
        return rule.default
    value = data[name]
    if rule.kinds is not None and (type(value) not in rule.kinds or (type(value) is float and not isfinite(value))):
        return rule.default
    try:
        return value if rule.load is None else rule.load(value)
    except TypeError:  # a list of lists is not a set
        return rule.default
