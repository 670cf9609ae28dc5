"""Pickle functions and classes by value, for workers that cannot import them, such as those of a script or notebook.

This module adds to cloudpickle:

- Markers that code compares with `is`, such as `dataclasses.MISSING`, stay the same objects.
- Type hints that are written as text are resolved, as the `__main__` of a worker does not have the names.
- Functions of Portal, new types and aliases in `__main__` are sent by value as well.
- Unpickling in the same process makes copies of classes, and does not change the classes themselves.
"""

from __future__ import annotations

import functools
import inspect
import io
import pickle
import sys
import typing
from collections.abc import Callable
from contextvars import ContextVar
from types import FunctionType
from typing import Any

import cloudpickle
from cloudpickle.cloudpickle import list_registry_pickle_by_value

from ..function import Function
from ..function.callable import make_function
from ..schema.hints.fields import alias_value, class_hints
from ..schema.hints.forms import is_typed_dict

__all__ = ["is_sent_by_value", "load_by_value", "pickle_by_value"]

_Base: Any = cloudpickle.Pickler
_COPY_PREFIX = "portal-"  # begins the ids of copied classes
#: The functions to complete when everything else is unpickled; they may be in a cycle with a class of their hints.
_incomplete: ContextVar[list[Callable[[], None]]] = ContextVar("portal_incomplete_functions")


def is_sent_by_value(module: str) -> bool:
    """Return whether workers cannot import a module: `__main__`, and what was registered with cloudpickle."""
    by_value: set[str] = list_registry_pickle_by_value()
    return module == "__main__" or any(module == name or module.startswith(f"{name}.") for name in by_value)


def pickle_by_value(value: Any) -> bytes:
    """Return a function, class or object as bytes; what a module has that can be imported is pickled by name.

    Raises: what cannot be pickled may raise anything.
    """
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


def load_by_value(data: bytes) -> Any:
    """Return what `pickle_by_value` was given. Raises: what the import and the unpickling raise."""
    incomplete: list[Callable[[], None]] = []
    token = _incomplete.set(incomplete)
    try:
        found = pickle.loads(data)
    finally:
        _incomplete.reset(token)
    for complete in incomplete:
        complete()
    return found


class _Pickler(_Base):  # type: ignore[misc]  # Any, whether cloudpickle is installed or not
    def reducer_override(self, value: Any) -> Any:
        """Return how an object is pickled."""
        if (name := _marker_name(value)) is not None:
            return getattr, (sys.modules[type(value).__module__], name)
        if (made := _made_again(value)) is not None:
            return made
        reduced = super().reducer_override(value)
        if not isinstance(reduced, tuple) or len(reduced) != 6:  # six items: by value
            return reduced
        make, arguments, state, *rest = reduced
        if isinstance(value, FunctionType):
            state = state[0], state[1] | {"__annotations__": _function_hints(value)}
        elif isinstance(value, type):
            arguments, state = _changed_class(value, arguments, state)
        return make, arguments, state, *rest


def _marker_name(value: Any) -> str | None:
    """Return the name of an object without state in the module of its class; None for any other object."""
    kind: Any = type(value)
    if kind.__new__ is not object.__new__ or kind.__reduce__ is not object.__reduce__ or kind.__module__ == "__main__":
        return None
    names = list(vars(sys.modules.get(kind.__module__, object)).items())
    name = next((name for name, found in names if found is value), None)
    return None if name is None or value.__getstate__() is not None else name


def _made_again(value: Any) -> Any:
    """Return how an object is made that pickles itself as a name in a module which workers cannot import."""
    kind: Any = type(value)
    is_alias = kind.__name__ == "TypeAliasType"
    if not (is_alias or isinstance(value, Function | typing.NewType)) or not is_sent_by_value(str(value.__module__)):
        return None
    if is_alias:
        make = functools.partial(kind, type_params=value.__type_params__)
        return make, (value.__name__, alias_value(value))
    if isinstance(value, typing.NewType):
        return typing.NewType, (value.__name__, value.__supertype__)
    if not isinstance(value.__reduce__(), str):
        return None
    if value.options is None:
        raise pickle.PicklingError(f"{value!r} cannot be sent by value")
    return object.__new__, (kind,), (value.target, dict(value.options)), None, None, _complete


def _complete(function: Function, made_of: tuple[Callable[..., Any], dict[str, Any]]) -> None:
    def complete() -> None:
        function.__dict__.update(vars(make_function(*made_of)))

    pending = _incomplete.get(None)
    if pending is None:
        complete()
    else:
        pending.append(complete)


def _changed_class(kind: type, arguments: tuple[Any, ...], state: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return how cloudpickle is to make a class, and with which attributes."""
    if own := _own_hints(kind):
        state = state[0] | {"__annotations__": own}, state[1]
    *others, class_id, extra = arguments
    if is_typed_dict(kind) and "__orig_bases__" not in vars(kind):  # its only base is dict, whatever it inherits
        others[2] = (sys.modules[type(kind).__module__].TypedDict,)
    return (*others, _COPY_PREFIX + class_id.removeprefix(_COPY_PREFIX), extra), state


def _function_hints(function: FunctionType) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # a name of `if TYPE_CHECKING:`, or another fault, with which the worker deals
        return function.__annotations__


def _own_hints(kind: type) -> dict[str, Any]:
    own = inspect.get_annotations(kind)
    try:
        hints = class_hints(kind)
    except Exception:  # as in `_function_hints`
        return own
    return {name: hints.get(name, hint) for name, hint in own.items()}
