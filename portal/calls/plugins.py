"""Middleware by name: plug-ins that other distributions offer as entry points.

A distribution offers them under the groups `portal.middleware` (calls) and `portal.http_middleware` (HTTP requests):

    [options.entry_points]
    portal.middleware =
        audit = shop.audit:Audit

Being installed changes nothing: a plug-in is loaded where somebody names it. What the entry point names is the
middleware itself or, if it is a class, makes it when called without arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..errors import ConfigError

__all__ = ["HTTP_MIDDLEWARE", "MIDDLEWARE", "load_plugins", "resolve_middleware"]

MIDDLEWARE = "portal.middleware"
HTTP_MIDDLEWARE = "portal.http_middleware"
_PLACES = {"call": MIDDLEWARE, "request": HTTP_MIDDLEWARE}


def load_plugins(group: str, names: Iterable[str] | None = None) -> dict[str, Callable[..., Any]]:
    """The plug-ins of a group by name, each made anew.

    Args:
        names: those to load; all there are when None.
    Raises: ConfigError, which names the plug-in, for one that is not there, that two distributions offer, that fails
        when it is loaded or made, or that cannot be called.
    """
    offered: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        offered.setdefault(point.name, []).append(point)
    wanted = sorted(offered) if names is None else list(names)
    return {name: _load(group, name, offered) for name in wanted}


def resolve_middleware(
    items: Iterable[str | Callable[..., Any]] | None, group: str = MIDDLEWARE
) -> tuple[Callable[..., Any], ...]:
    """Middleware from names of plug-ins and from objects, in the order given.

    Raises: ConfigError for what is neither, for a class in the place of an object of it, for what goes around the other
        kind (an `around` says which: "call" or "request"), and as `load_plugins`.
    """
    allowed = "a list of callables and of names of plug-ins"
    if items is None:
        return ()
    if isinstance(items, str) or callable(items) or not isinstance(items, Iterable):
        raise ConfigError(f"{group} is {items!r}; expected: {allowed}", path=group, expected=allowed)
    resolved: list[Callable[..., Any]] = []
    for item in items:
        if isinstance(item, str):
            resolved.append(load_plugins(group, [item])[item])
        elif isinstance(item, type):
            allowed = f"an object of it: {item.__name__}(...)"
            raise ConfigError(f"{group} holds the class {item.__name__}", path=group, expected=allowed)
        elif callable(item):
            around = getattr(item, "around", None)
            if around in _PLACES and _PLACES[around] != group:
                right = _PLACES[around].rpartition(".")[2]
                words = f"{group} holds {type(item).__name__}, which goes around a {around}: its place is {right}="
                raise ConfigError(words, path=group)
            resolved.append(item)
        else:
            raise ConfigError(f"{group} holds {item!r}; expected: {allowed}", path=group, expected=allowed)
    return tuple(resolved)


def _load(group: str, name: str, offered: dict[str, list[EntryPoint]]) -> Callable[..., Any]:
    path = f"{group}.{name}"
    points = offered.get(name, [])
    # A distribution that is found twice on the path offers the same thing twice.
    if len({point.value for point in points}) != 1:
        what = f"offered as {' and '.join(point.value for point in points)}" if points else "not installed"
        allowed = ", ".join(sorted(offered)) or "no plug-in"
        raise ConfigError(f"the plug-in {path} is {what}", path=path, expected=allowed)
    try:
        found = points[0].load()
        if isinstance(found, type):
            found = found()
    except Exception as error:
        words = f"the plug-in {path} ({points[0].value}) failed: {type(error).__name__}: {error}"
        raise ConfigError(words, path=path, expected="a plug-in that loads", cause=error) from error
    if not callable(found):
        raise ConfigError(f"the plug-in {path} cannot be called", path=path, expected="a middleware, or a class of one")
    return found  # type: ignore[no-any-return]
