"""Middleware in settings: look up plug-ins by name, check a list of middleware, and close it.

Every portal and Consumer passes its lists through `resolve_middleware` and `close_middleware`.

A distribution offers middleware as entry points of the groups `portal.middleware` (calls) and `portal.http_middleware`
(HTTP requests):

    [options.entry_points]
    portal.middleware =
        audit = shop.audit:Audit

An installed plug-in has no effect until a setting names it. The entry point names a middleware, or a class that makes
one when called without arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .._internal.closing import close_and_log
from ..errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "HTTP_MIDDLEWARE",
    "MIDDLEWARE",
    "NamespacedMiddleware",
    "bind_namespace",
    "close_middleware",
    "counters_of",
    "load_plugins",
    "resolve_middleware",
]

MIDDLEWARE = "portal.middleware"
HTTP_MIDDLEWARE = "portal.http_middleware"
Kind = Literal["call", "request"]

_GROUPS: dict[Kind, str] = {"call": MIDDLEWARE, "request": HTTP_MIDDLEWARE}
_SETTINGS: dict[Kind, str] = {"call": "middleware", "request": "http_middleware"}


class NamespacedMiddleware(Protocol):
    """Middleware that keeps data, such as responses or counts, apart from that of other portals.

    A middleware around another one, such as `When`, has this method too, and returns itself around the bound one.
    """

    def bind_namespace(self, name: str | None) -> Callable[..., Any]:
        """Return the middleware for one portal. Each portal and Consumer that takes the middleware calls this once.

        Args:
            name: the portal's `name=`; portals with one name are replicas. None if it has none.

        Raises: ConfigError if the middleware requires a name and has none.
        """


def bind_namespace(item: Callable[..., Any], name: str | None) -> Callable[..., Any]:
    """Return a middleware for the portal with this name; most do not depend on it. See `NamespacedMiddleware`."""
    bind = getattr(item, "bind_namespace", None)
    return bind(name) if callable(bind) else item


def resolve_middleware(
    items: Iterable[str | Callable[..., Any]] | None, kind: Kind = "call", *, name: str | None = None
) -> tuple[Callable[..., Any], ...]:
    """Return the middleware of a setting in the order given, with plug-ins in place of their names.

    Args:
        items: middleware and names of plug-ins.
        kind: "call" for the setting `middleware`, "request" for `http_middleware`.
        name: the portal's `name=`; see `NamespacedMiddleware`.

    Raises: ConfigError for anything else: a class instead of an instance, or a middleware of the other kind. The
        attribute `around` of a middleware, where it has one, is its kind. Also as `load_plugins`.
    """
    setting, expected = _SETTINGS[kind], "a list of callables and names of plug-ins"
    if items is None:
        return ()
    if isinstance(items, str) or callable(items) or not isinstance(items, Iterable):
        raise ConfigError.invalid(setting, items, expected)
    resolved: list[Callable[..., Any]] = []
    for item in items:
        if isinstance(item, str):
            item = load_plugins(_GROUPS[kind], [item])[item]
        elif isinstance(item, type):
            raise ConfigError.invalid(setting, item, f"a list of instances, such as {item.__name__}(...)")
        elif not callable(item):
            raise ConfigError.invalid(setting, item, expected)
        _require_kind(item, kind)
        resolved.append(bind_namespace(item, name))
    return tuple(resolved)


def _require_kind(item: Callable[..., Any], kind: Kind) -> None:
    around = getattr(item, "around", None)
    if around in _GROUPS and around != kind:
        setting, name = _SETTINGS[kind], type(item).__name__
        words = f"{setting} holds {name}, which applies to a {around}: pass it in {_SETTINGS[around]}="
        raise ConfigError(words, path=setting)


def close_middleware(middleware: Iterable[object]) -> None:
    """Close every middleware that has a `close` method; log one that fails."""
    for item in {id(item): item for item in middleware}.values():
        close_and_log(item, f"the middleware {type(item).__name__}")


def counters_of(parts: Iterable[Any]) -> dict[str, int]:
    """Return the counters of all objects that have a method `counters`; those of one name are added up."""
    found: dict[str, int] = {}
    for one in parts:
        for name, value in one.counters().items() if hasattr(one, "counters") else ():
            found[name] = found.get(name, 0) + value
    return found


def load_plugins(group: str, names: Iterable[str] | None = None) -> dict[str, Callable[..., Any]]:
    """Return a new instance of each plug-in of a group, by name.

    Args:
        names: the plug-ins to load; all of the group when None.

    Raises: ConfigError, which names the plug-in, for one that is not installed, that two distributions offer, that
        fails to load, or that is not callable.
    """
    from importlib.metadata import entry_points  # costs 10 ms, which only plug-ins need

    offered: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        offered.setdefault(point.name, []).append(point)
    wanted = sorted(offered) if names is None else list(names)
    return {name: _load(group, name, offered) for name in wanted}


def _load(group: str, name: str, offered: dict[str, list[EntryPoint]]) -> Callable[..., Any]:
    path = f"{group}.{name}"
    points = offered.get(name, [])
    if not points:
        hint = f"installed: {', '.join(sorted(offered)) or 'none'}"
        raise ConfigError(f"the plug-in {path} is not installed", path=path, hint=hint)
    # A distribution that is on the path twice offers the same entry point twice.
    values = list(dict.fromkeys(point.value for point in points))
    if len(values) != 1:
        message = f"the plug-in {path} must be offered by one distribution, got {' and '.join(values)}"
        raise ConfigError(message, path=path, hint="uninstall all but one of the distributions")
    try:
        found = points[0].load()
        if isinstance(found, type):
            found = found()
    except Exception as error:
        words = f"the plug-in {path} ({points[0].value}) failed to load: {type(error).__name__}: {error}"
        raise ConfigError(words, path=path, expected="a plug-in that loads", cause=error) from error
    if not callable(found):
        raise ConfigError(f"the plug-in {path} is not callable", path=path, expected="a middleware, or a class of one")
    return found  # type: ignore[no-any-return]
