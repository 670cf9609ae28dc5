"""Wrappers around callables: partials, caches, dispatch by type, and objects with `__call__`.

Some of them cannot be called by name with parameters from JSON. They are rejected when the function is made.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any

from ..errors import ConfigError
from ..schema import Parameters

__all__ = ["own_code", "require_callable_by_name", "wrapped_by"]

_CACHED: Any = type(functools.lru_cache(lambda: None))
_DECORATORS: tuple[Any, ...] = (contextlib.contextmanager, contextlib.asynccontextmanager)
#: The code of the functions that contextlib makes of generator functions.
_CONTEXT_MANAGERS = [decorate(lambda: None).__code__ for decorate in _DECORATORS]


def own_code(target: Any) -> Any:
    """Return the code that a call of an object runs first: without partials and caches, and its `__call__`.

    Wrappers stay: a function without async around a coroutine function may run it.
    """
    while True:
        if isinstance(target, functools.partial):
            target = target.func
        elif isinstance(target, _CACHED | staticmethod | classmethod):
            target = target.__wrapped__
        elif inspect.ismethod(target):
            target = target.__func__
        elif inspect.isroutine(target) or inspect.isclass(target):
            return target
        else:
            call = type(target).__call__
            return call if inspect.isroutine(call) else target


def require_callable_by_name(target: Any, parameters: Parameters, streaming: bool) -> None:
    """Raise ConfigError for a callable that fails when it is called by name with parameters of these types.

    `functools.singledispatch` needs a positional argument. `functools.lru_cache` needs hashable arguments.
    """
    name = getattr(target, "__qualname__", type(target).__qualname__)
    layers = list(wrapped_by(target))
    if any(hasattr(layer, "dispatch") and hasattr(layer, "registry") for layer in layers):
        message = f"{name} is a singledispatch function, which takes its first argument by position only"
        raise ConfigError(message, path="function", expected="a function with a parameter of a union of types")
    if any(getattr(layer, "__code__", None) in _CONTEXT_MANAGERS for layer in layers if inspect.isfunction(layer)):
        raise ConfigError(f"{name} makes a context manager, which JSON cannot carry", path="function")
    if not any(isinstance(layer, _CACHED) for layer in layers):
        return
    if streaming:
        raise ConfigError(f"{name} is a cached stream, which would be exhausted after the first call", path="function")
    if parameters.unhashable:
        names = ", ".join(parameters.unhashable)
        message = f"{name} is under functools.cache, which needs hashable arguments; {names} is not"
        raise ConfigError(message, path="function", expected="parameters of hashable types, such as a tuple for a list")
    owner = next((layer.__self__ for layer in layers if inspect.ismethod(layer)), None)
    if owner is not None and type(owner).__hash__ is None:
        kind = type(owner).__qualname__
        raise ConfigError(
            f"{name} is under functools.cache, which needs a hashable self; {kind} is not", path="function"
        )


def wrapped_by(target: Any) -> Iterator[Any]:
    """Yield a callable and what it wraps, outermost first."""
    seen: set[int] = set()
    while target is not None and id(target) not in seen:
        seen.add(id(target))
        yield target
        if isinstance(target, functools.partial):
            target = target.func
        elif inspect.ismethod(target):
            target = target.__func__
        else:
            target = getattr(target, "__wrapped__", None)
