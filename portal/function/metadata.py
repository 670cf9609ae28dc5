"""Metadata of Functions, for `inspect.signature`, `typing.get_type_hints`, `help`, completion and pickle."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from types import MethodType
from typing import Any

from ..schema import FunctionSchema, Parameters, Schema
from ..schema.callables import resolved_hints
from ..schema.documentation.docstrings import docstring_of

__all__ = ["OfInstance", "annotations_of", "attributes_of", "reference_to", "signature_of"]


class OfInstance:
    """An attribute that is computed for each instance, and that the class itself does not have.

    `inspect.signature(cls)` would take a property `__signature__` of the class for a signature.

    Args:
        compute: returns the value for an instance.
    """

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            raise AttributeError("only instances have this attribute")
        return self._compute(instance)


def attributes_of(target: Any, schema: FunctionSchema, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the attributes that a Function takes from its callable.

    Args:
        target: the callable.
        schema: the schema of the Function.
        options: the options of `@function`, or None. Without a description of their own, the docstring stays whole.
    """
    has_own_words = options is None or options.get("description") is not None
    found: dict[str, Any] = {
        "__name__": schema.name,
        "__qualname__": str(getattr(target, "__qualname__", schema.name)),
        "__doc__": schema.description if has_own_words else docstring_of(target),
        "__wrapped__": target,
    }
    module = getattr(target, "__module__", None)
    if isinstance(module, str):
        found["__module__"] = module
    try:
        found["__annotations__"] = dict(getattr(target, "__annotations__", {}))
    except NameError:  # CPython 3.14 evaluates them now; options of the decorator may have taken their place
        found["__annotations__"] = {}
    return found


def signature_of(schema: FunctionSchema, parameters: Parameters, output: Schema) -> inspect.Signature:
    """Return the signature of a function that is known by its schemas.

    A parameter after one with a default has no position in Python unless it has a default too; it is keyword-only here.
    """
    hints = annotations_of(schema, parameters, output)
    properties, required = schema.input.get("properties", {}), set(schema.input.get("required", ()))
    found = []
    seen_default, keyword_only = False, False
    for name in parameters.names:
        default: Any = inspect.Parameter.empty
        if name in parameters.defaults:
            default = parameters.defaults[name]
        elif name not in required:  # without a default in the schema, the server decides what leaving it out means
            part = properties.get(name)
            default = part.get("default", ...) if isinstance(part, dict) else ...
        if default is inspect.Parameter.empty and seen_default:
            keyword_only = True
        seen_default = seen_default or default is not inspect.Parameter.empty
        if name.isidentifier():
            kind = inspect.Parameter.KEYWORD_ONLY if keyword_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
            found.append(inspect.Parameter(name, kind, default=default, annotation=hints[name]))
    return inspect.Signature(found, return_annotation=hints["return"])


def annotations_of(schema: FunctionSchema, parameters: Parameters, output: Schema) -> dict[str, Any]:
    """Return the hints of a function that is known by its schemas: one for each parameter, and "return"."""
    source = parameters.schema.source
    hints = resolved_hints(source) if parameters.schema.kind == "hint" and inspect.isroutine(source) else {}
    found = {name: hints[name] if name in hints else _hint_of(parameters.schema, name) for name in parameters.names}
    item: Any = output.to_hint()
    return {**found, "return": Iterator[item] if schema.streaming else item}


def _hint_of(schema: Schema, name: str) -> Any:
    """Return the nearest hint of a member of an object schema."""
    part = schema.json.get("properties", {}).get(name, {})
    definitions = schema.json.get("$defs")
    return Schema.of({**part, "$defs": definitions} if definitions and isinstance(part, dict) else part).to_hint()


def reference_to(function: Any, options: Mapping[str, Any] | None, make: Callable[..., Any]) -> Any:
    """Return what `__reduce__` returns for a Function: the name under which it is found, or how to make it again.

    Args:
        function: the Function.
        options: the options of `@function`, if it was made with them.
        make: makes a Function from a callable and the options.

    Raises: PicklingError for a Function that was made in another way.
    """
    target = function.target
    if isinstance(target, MethodType) and _is_function_of(type(target.__self__), target):
        return getattr, (target.__self__, target.__name__)
    name = str(function.__qualname__)
    if _found(str(function.__module__), name) is function:
        return name
    if options is None:
        message = f"{function!r} cannot be pickled; make it with @function at the top level of a module"
        raise pickle.PicklingError(message)
    return make, (target, dict(options))


def _is_function_of(owner: type, method: MethodType) -> bool:
    """Return whether a class has a Function of a method under the name of the method."""
    member: Any = inspect.getattr_static(owner, method.__name__, None)
    return getattr(member, "target", None) is method.__func__


def _found(module: str, qualname: str) -> object:
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
