"""OnlyFor: a call middleware for some calls only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from typing import Any

from ..errors import ConfigError
from .middleware import Call, CallNext, Middleware

__all__ = ["OnlyFor"]


class OnlyFor:
    """A call middleware for some calls only; the others pass it by.

        OnlyFor(RateLimit("5/minute"), ["login", "billing/*"])

    Args:
        middleware: what to apply.
        functions: names, or patterns with `*`, `?` or `[...]`. One with a slash is compared with "group/name", for
            functions published in a group or service; any other with the name alone, in every group.
        predicate: call -> whether to apply it.

    Both conditions, where given, must hold. A predicate that raises makes the call fail. Of a call by JSON-RPC or any
    other transport the function is known here. Threads: any. `close` closes the middleware, if it can be.
    """

    around = "call"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        middleware: Middleware,
        functions: str | Iterable[str] | None = None,
        predicate: Callable[[Call], bool] | None = None,
    ) -> None:
        if not callable(middleware):
            raise _wrong("middleware", middleware, "a callable (call, call_next) -> result")
        if functions is None and predicate is None:
            raise _wrong("condition", None, "functions or predicate")
        if predicate is not None and not callable(predicate):
            raise _wrong("predicate", predicate, "a callable call -> bool")
        self._middleware = middleware
        self._names = None if functions is None else _pattern_of(functions)
        self._predicate = predicate

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        return self._middleware(call, call_next) if self._applies(call) else call_next(call)

    def _applies(self, call: Call) -> bool:
        # "name" and "group/name" are told apart by the slash, which no name has.
        if self._names is not None:
            name = call.function.schema.name
            if not self._names.match(name) and not (call.group and self._names.match(f"{call.group}/{name}")):
                return False
        return self._predicate is None or self._predicate(call)

    def close(self) -> None:
        """Close the middleware, if it can be."""
        close = getattr(self._middleware, "close", None)
        if close is not None:
            close()


def _pattern_of(functions: str | Iterable[str]) -> re.Pattern[str]:
    allowed = "names of functions, or patterns, at least one"
    if not isinstance(functions, str | Iterable):
        raise _wrong("functions", functions, allowed)
    given = [functions] if isinstance(functions, str) else list(functions)
    if not given or not all(isinstance(name, str) and name for name in given):
        raise _wrong("functions", functions, allowed)
    return re.compile("|".join(translate(name) if "/" in name else rf"(?!.*/){translate(name)}" for name in given))


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"only_for.{name} is {value!r}; expected: {allowed}", path=f"only_for.{name}", expected=allowed)
