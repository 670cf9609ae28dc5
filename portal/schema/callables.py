"""Callables: what runs when one is called, and its type hints."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from .hints.forms import substitute

__all__ = ["implementation_of", "resolved_hints"]


def resolved_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the type hints of a callable by parameter name, with "return" for the result.

    Raises:
        ConfigError: a hint contains a name that cannot be resolved.
    """
    owner = getattr(target, "__self__", None)
    target = implementation_of(target)
    if inspect.isclass(target):
        target = target.__init__
    try:
        hints = typing.get_type_hints(target, include_extras=True)
    except (NameError, AttributeError, TypeError) as error:
        name = getattr(target, "__qualname__", str(target))
        raise ConfigError(
            f"{name}: a type hint cannot be resolved: {error}", path=name, expected="names defined at module level"
        ) from error
    if owner is None or inspect.ismodule(owner):
        return hints
    return {
        name: substitute(hint, {"Self": owner if isinstance(owner, type) else type(owner)})
        for name, hint in hints.items()
    }


def implementation_of(target: Any) -> Any:
    """Return what runs when a callable is called: without partials and wrappers, and the `__call__` of an object."""
    while True:
        inner = target.func if isinstance(target, functools.partial) else inspect.unwrap(target)
        if inner is target:
            if inspect.isroutine(target) or inspect.isclass(target):
                return target
            inner = type(target).__call__
        if inner is target:
            return target
        target = inner
