"""The decorator `@function`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from ..errors import PortalError
from .callable import Function, make_function
from .describe import OutputCheck

if TYPE_CHECKING:
    from .placed import Place

__all__ = ["function"]

P = ParamSpec("P")
R = TypeVar("R")


class _Decorator(Protocol):
    def __call__(self, target: Callable[P, R], /) -> Function[P, R]: ...


@overload
def function(target: Callable[P, R], /) -> Function[P, R]: ...


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
    max_body: int | None = None,
    raises: Iterable[type[PortalError]] = (),
    validate_output: OutputCheck = "error",
    executor: Place | None = None,
) -> _Decorator: ...


def function(target: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a Function from a callable, with a schema from its type hints and a description from its docstring.

    Args:
        name: name of the function; None takes the name of the callable.
        version: version of the schema, by PEP 440.
        input, output: a type hint, marshmallow schema or JSON Schema; None takes the hints of the callable.
        description: text for documents; None takes the docstring.
        tags: words that group functions in documents.
        examples: examples for documents, such as {"input": {"a": 1}, "output": 2}.
        idempotent: whether two calls have the same effect as one, so that a call may be sent again.
        cacheable: whether the result depends on the parameters only.
        deprecated: whether new callers should use another function.
        timeout: seconds that a call may take, unless the caller sets less.
        max_body: bytes of the body of an HTTP request at most, which may be more than the limit of the server.
        raises: the subclasses of PortalError that it raises, for documents and clients.
        validate_output: what to do with a result that does not fit: "error" (raise), "warn" (log it and return it) or
            "off" (return it).
        executor: where a call runs: "processes" for a process of its own, "interpreters" for an interpreter (CPython
            3.14), or a pool of `portal.processes`. With None it runs in the thread that serves the call. The function
            must be one of a module; see docs/scaling.md.

    Raises: ConfigError for a wrong option, and for a callable without a schema: a coroutine function, `*args`,
        positional-only parameters, a hint without a JSON Schema.
    """
    return functools.partial(_make, options=options) if target is None else _make(target, options)


def _make(target: Callable[..., Any], options: Mapping[str, Any]) -> Function:
    others = {name: value for name, value in options.items() if name != "executor"}
    place = options.get("executor")
    if place is None or isinstance(target, Function):
        return make_function(target, others)
    from .placed import make_placed  # which few functions need

    return make_placed(target, others, place)
