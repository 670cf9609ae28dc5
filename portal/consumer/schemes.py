"""Make the resolver of a scheme: a built-in one, or one that an installed package offers as `portal.schemes`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from ..errors import ConfigError, RegistryError
from ..portal import Resolver

__all__ = ["GROUP", "make_resolver"]

#: Entry point group. The name is a scheme; the value is called without arguments and returns a Resolver.
GROUP = "portal.schemes"


def make_resolver(scheme: str, make_built_in: Callable[[str], Resolver | None]) -> Resolver:
    """Return a new resolver for a scheme.

    Args:
        make_built_in: returns a new resolver for a scheme that needs no plug-in, or None for any other scheme.

    Raises: RegistryError (not_found) for an unknown scheme. ConfigError for a plug-in that fails, or that does not
        return a Resolver of the scheme; it names the package.
    """
    resolver = make_built_in(scheme)
    if resolver is not None:
        return resolver
    found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        raise RegistryError(
            f"no resolver for {scheme}://",
            name=scheme,
            hint=f"open a portal of this scheme, pass Consumer([...]), or install a package that offers {scheme}://",
        )
    return _load(scheme, found[0])


def _load(scheme: str, entry: EntryPoint) -> Resolver:
    package = entry.dist.name if entry.dist is not None else entry.value
    try:
        resolver = entry.load()()
    except Exception as error:  # a plug-in may raise anything
        problem = f"{type(error).__name__}: {error}"
        message = f"the resolver of {scheme}:// in package {package} cannot be loaded: {problem}"
        raise ConfigError(message, path=f"{GROUP}.{scheme}", expected="a callable that returns a Resolver") from error
    if not isinstance(resolver, Resolver) or scheme not in resolver.schemes:
        message = f"package {package} must offer a Resolver of {scheme}://, got {resolver!r}"
        raise ConfigError(message, path=f"{GROUP}.{scheme}", expected=f"a Resolver of {scheme}://")
    return resolver
