"""Special forms of typing and typing_extensions, and type variables with their arguments.

typing_extensions has forms of its own where the running Python lacks them. They are recognized by name, and the package
is not imported.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError
from ..codecs import type_name

__all__ = [
    "QUALIFIERS",
    "form_name",
    "is_typed_dict",
    "qualifiers_of",
    "substitute",
    "variable_default",
    "variables_of",
]

#: Forms around the hint of a field that say how the field may be used, not which values it has.
QUALIFIERS = frozenset(("Required", "NotRequired", "ReadOnly", "Final"))
_MODULES = frozenset(("typing", "typing_extensions"))
#: Type variable, or Self -> the hint in its place.
Variables = Mapping[Any, Any]


def form_name(origin: Any) -> str:
    """Return the name of a special form, such as "ReadOnly"; "" for another object."""
    if getattr(origin, "__module__", None) not in _MODULES or isinstance(origin, type):
        return ""
    return str(getattr(origin, "_name", None) or getattr(origin, "__name__", ""))


def is_typed_dict(kind: Any) -> bool:
    """Return whether a class is a TypedDict of typing or typing_extensions."""
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def qualifiers_of(hint: Any) -> frozenset[str]:
    """Return the names of the qualifiers that stand around a hint."""
    found = set()
    while (name := form_name(origin := typing.get_origin(hint))) in QUALIFIERS or origin is typing.Annotated:
        found.add(name)
        hint = typing.get_args(hint)[0]
    return frozenset(found) & QUALIFIERS


def variables_of(kind: Any, args: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the arguments of a generic class or alias by its type variables, defaults (PEP 696) included.

    Raises: ConfigError for a variable that stands for several types, such as *Ts and **P.
    """
    names: Any = getattr(kind, "__parameters__", None) or getattr(kind, "__type_params__", ())
    found: dict[Any, Any] = {}
    for index, name in enumerate(names):
        if not isinstance(name, typing.TypeVar):
            where = type_name(kind)
            raise ConfigError(
                f"{where}: a schema cannot describe {name}, because it stands for several types; use a TypeVar",
                path=where,
            )
        if index < len(args):
            found[name] = args[index]
        elif (default := variable_default(name)) is not None:
            found[name] = substitute(default, found)
    return found


def variable_default(variable: Any) -> Any:
    """Return the default of a type variable (PEP 696), or None."""
    has_default = getattr(variable, "has_default", None)  # of CPython 3.13 on, and of typing_extensions
    if has_default is None or not has_default():
        return None
    default = variable.__default__
    return type(None) if default is None else default


def substitute(hint: Any, variables: Variables) -> Any:
    """Return a hint with the type variables in it, at any depth, replaced."""
    if isinstance(hint, typing.TypeVar) or form_name(hint) == "Self":
        return variables.get("Self" if form_name(hint) == "Self" else hint, hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if not args or origin in (typing.Literal, collections.abc.Callable):
        return hint
    if origin is typing.Annotated:
        return typing.Annotated[(substitute(args[0], variables), *args[1:])]
    found = tuple(substitute(arg, variables) for arg in args)
    if found == args:
        return hint
    if origin is typing.Union or origin is types.UnionType:
        return typing.Union[found]  # noqa: UP007 - of a tuple
    return origin[found if len(found) > 1 else found[0]]
