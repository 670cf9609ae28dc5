"""`@function`: make a Function of a callable."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from .callable import Function, make_function
from .describe import OutputCheck

__all__ = ["function"]


@overload
def function(target: Callable[..., Any], /) -> Function: ...


@overload
def function(
    *,
    name: str | None = None,
    version: str = "1",
    input: Any = None,
    output: Any = None,
    description: str | None = None,
    tags: Iterable[str] = (),
    examples: Iterable[Mapping[str, Any]] = (),
    idempotent: bool = False,
    cacheable: bool = False,
    deprecated: bool = False,
    timeout: float | None = None,
    validate_output: OutputCheck = "error",
) -> Callable[[Callable[..., Any]], Function]: ...


def function(target: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a Function of a callable: its hints are the schema, its docstring the description.

    Args:
        name: the callable's own when None.
        version: version of the schema, by PEP 440.
        input, output: hint, marshmallow Schema or JSON Schema; from the hints when None.
        description: the docstring when None.
        tags, examples: for documents; an example is {"input": {...}, "output": ...}.
        idempotent: whether two calls do no more than one, so that a call may be sent again.
        cacheable: whether the result depends on the parameters alone.
        deprecated: whether new callers should use another function.
        timeout: seconds a call may take when the caller sets no less.
        validate_output: what happens to a result that does not fit: "error", "warn" (log it and pass it on) or "off".

    Raises: ConfigError for a callable that cannot be described: a coroutine function, `*args`, positional-only
        parameters, a hint without a schema.
    """
    if target is None:
        return functools.partial(make_function, options=options)
    return make_function(target, options)
