"""When: apply a middleware to some calls, or to some HTTP requests, only."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from copy import copy
from fnmatch import translate
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import unquote

from .._internal.settings import callback, require
from ..errors import ConfigError
from .middleware import Call
from .plugins import bind_namespace, close_middleware, counters_of

__all__ = ["When"]

_WILDCARDS = frozenset("*?[")


class When:
    """Apply a middleware only where every condition given holds; others bypass it.

        HTTPPortal(
            middleware=[When(RateLimit("5/minute"), functions=["login", "billing/*"])],
            http_middleware=[When(CORS("*"), paths="/api/public", methods=["GET", "POST"])],
        )

    Args:
        middleware: the middleware to apply, of calls or of HTTP requests.
        functions: names of functions, or patterns with `*`, `?` or `[...]`; one or several. A pattern with a slash is
            matched against "service/name"; any other against the name alone, in every service.
        paths: for HTTP requests: a path ("/api/orders") and everything below it, or a pattern and everything below it;
            one or several. In a pattern, `*` matches slashes, too. Percent-encoding, empty segments and an "@version"
            at the end make no difference.
        methods: for HTTP requests: request methods in any case, one or several.
        if_: a callable that gets the call, or the request, and returns whether to apply the middleware. If it raises,
            the call or request fails.

    For an HTTP request, `functions` is matched against the path: its last segment, or the one before it if an id
    follows. A JSON-RPC request names its functions in the body, so `functions` does not match it; use call middleware
    there.

    Attributes:
        around: "request" if the condition or the middleware is for HTTP requests only, "call" if the middleware is for
            calls only, None for both. See `resolve_middleware`.
        named: the names in `functions`, without patterns, and those in the middleware. A portal logs the ones that it
            does not publish.

    Raises: ConfigError for a wrong setting, and for `paths` or `methods` with a middleware for calls.

    Threads: any. `close` closes the middleware.
    """

    def __init__(
        self,
        middleware: Callable[..., Any],
        *,
        functions: str | Collection[str] | None = None,
        paths: str | Collection[str] | None = None,
        methods: str | Collection[str] | None = None,
        if_: Callable[[Any], bool] | None = None,
    ) -> None:
        ok = callable(middleware) and not isinstance(middleware, type)
        require(ok, "when.middleware", middleware, "a middleware: a callable, not a class")
        if functions is None and paths is None and methods is None and if_ is None:
            expected = "functions, paths, methods or if_"
            raise ConfigError(f"When requires a condition: {expected}", path="when", expected=expected)
        self._middleware = middleware
        self._if = callback("when.if_", if_, expected="a callable that returns a bool", optional=True)
        self._functions = None if functions is None else _name_pattern(functions)
        self._paths = None if paths is None else _path_pattern(paths)
        self._methods = None if methods is None else _method_set(methods)
        self._reads_path = self._paths is not None or self._functions is not None
        self.around = self._find_around(middleware)
        self.named = _literal_names(functions) | _names_in(middleware)

    def _find_around(self, middleware: Callable[..., Any]) -> Literal["call", "request"] | None:
        around: Literal["call", "request"] | None = getattr(middleware, "around", None)
        for name, condition in (("paths", self._paths), ("methods", self._methods)):
            if condition is None:
                continue
            if around == "call":
                words = f"when.{name} is for HTTP requests, and {type(middleware).__name__} applies to calls"
                raise ConfigError(f"{words}; use functions or if_", path=f"when.{name}", expected="functions or if_")
            around = "request"
        return around

    def bind_namespace(self, name: str | None) -> When:
        """Return this condition around the middleware for one portal; see `NamespacedMiddleware`."""
        bound = copy(self)
        bound._middleware = bind_namespace(self._middleware, name)
        return bound

    def __call__(self, subject: Any, call_next: Callable[[Any], Any]) -> Any:
        applies = self._applies_to_call if isinstance(subject, Call) else self._applies_to_request
        return self._middleware(subject, call_next) if applies(subject) else call_next(subject)

    def _applies_to_call(self, call: Call) -> bool:
        if self._functions is not None and not _matches(self._functions, call.group, call.function.schema.name):
            return False
        return self._if is None or self._if(call)

    def _applies_to_request(self, request: Any) -> bool:
        if self._methods is not None and request.method not in self._methods:
            return False
        if self._reads_path:
            segments = _segments(request.path)
            if self._paths is not None and not self._paths.match("/" + "/".join(segments)):
                return False
            if self._functions is not None and not self._names_function(segments):
                return False
        return self._if is None or self._if(request)

    def _names_function(self, segments: tuple[str, ...]) -> bool:
        assert self._functions is not None
        padded = ("", "", "", *segments)
        return any(name and _matches(self._functions, group, name) for group, name in (padded[-2:], padded[-3:-1]))

    def counters(self) -> dict[str, int]:
        """Return the counters of the middleware, if it has any."""
        return counters_of([self._middleware])

    def close(self) -> None:
        """Close the middleware if it has a `close` method."""
        close_middleware([self._middleware])


def _matches(pattern: re.Pattern[str], group: str, name: str) -> bool:
    # A name holds no slash, which tells a pattern for "service/name" from one for a name.
    return bool(pattern.match(name) or (group and pattern.match(f"{group}/{name}")))


def _literal_names(functions: str | Collection[str] | None) -> frozenset[str]:
    names = [] if functions is None else _listed("when.functions", functions)
    return frozenset(part for name in names if not _WILDCARDS & set(name) for part in name.split("/"))


def _names_in(middleware: object) -> frozenset[str]:
    named = getattr(middleware, "named", None)
    return named if isinstance(named, frozenset) else frozenset()


def _name_pattern(functions: str | Collection[str]) -> re.Pattern[str]:
    names = _listed("when.functions", functions)
    return re.compile("|".join(translate(name) if "/" in name else rf"(?!.*/){translate(name)}" for name in names))


def _path_pattern(paths: str | Collection[str]) -> re.Pattern[str]:
    found = []
    for path in _listed("when.paths", paths):
        require(path.startswith(("/", "*")), "when.paths", path, 'a path or pattern that begins with "/" or "*"')
        prefix = path.rstrip("/")
        if _WILDCARDS & set(path):
            found += [translate(path), translate(f"{prefix}/*")]
        else:
            found.append(rf"(?s:{re.escape(prefix)}(?:/.*)?)\Z")
    return re.compile("|".join(found))


def _method_set(methods: str | Collection[str]) -> frozenset[str]:
    return frozenset(method.upper() for method in _listed("when.methods", methods))


def _listed(setting: str, value: str | Collection[str]) -> list[str]:
    """Return the strings of a setting that takes one or several."""
    several = isinstance(value, list | tuple | set | frozenset)
    given = list(value) if several else [value]
    ok = given and all(isinstance(one, str) and one for one in given)
    require(ok, setting, value, "a string, or a list of strings, that are not empty")
    return given  # type: ignore[return-value] # every one was checked


def _read_segments(path: str) -> tuple[str, ...]:
    """Return the segments as the look-up of functions reads them: no other spelling of a path evades a condition."""
    segments = [unquote(segment) for segment in path.split("/") if segment]
    if segments:
        segments[-1] = segments[-1].partition("@")[0] or segments[-1]
    return tuple(segments)


_cached_segments = lru_cache(maxsize=1024)(_read_segments)


def _segments(path: str) -> tuple[str, ...]:
    return (_cached_segments if len(path) <= 256 else _read_segments)(path)
