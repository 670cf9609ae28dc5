"""Resolve `name@2` and `?version=>=1,<2` to a version of a function, by PEP 440."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ..errors import RegistryError
from ..schema.names import MAX_VERSION

__all__ = ["first_match", "newest_first"]

T = TypeVar("T")


def newest_first(items: tuple[T, ...], version_of: Callable[[T], str]) -> tuple[T, ...]:
    """Return the items ordered by version, the newest first.

    Source: PEP 440, which also orders pre-releases.
    """
    if len(items) < 2:
        return items
    from packaging.version import Version

    return tuple(sorted(items, key=lambda item: Version(version_of(item)), reverse=True))


def first_match(items: Iterable[T], wanted: str, version_of: Callable[[T], str]) -> T | None:
    """Return the first item whose version is the wanted one or in the wanted range, or None.

    Args:
        wanted: a version ("2", which "2.0" equals) or a range (">=1,<2"). A range includes pre-releases.

    Raises: RegistryError (invalid) for other text, or for text longer than a version may be.
    """
    fits = _test_for(wanted)
    return next((item for item in items if fits(version_of(item))), None)


def _test_for(wanted: str) -> Callable[[str], bool]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    if len(wanted) > MAX_VERSION:  # packaging takes long for long text, or raises exceptions that it does not declare
        raise RegistryError(f"{wanted[:40]!r}... is neither a version nor a range", kind="invalid")
    try:
        exact = Version(wanted)
    except InvalidVersion:
        try:
            versions = SpecifierSet(wanted)
        except InvalidSpecifier:
            versions = SpecifierSet()
        if not len(versions):  # as of "", which would fit every version
            raise RegistryError(f"{wanted!r} is neither a version nor a range", kind="invalid") from None
        return lambda version: versions.contains(version, prereleases=True)
    return lambda version: Version(version) == exact
