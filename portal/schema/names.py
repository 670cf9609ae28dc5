"""The names and versions that a function or service may have."""

from __future__ import annotations

from ..errors import RegistryError

__all__ = ["MAX_NAME", "MAX_VERSION", "check_name", "check_version"]

#: Most characters of a name.
MAX_NAME = 200
#: Most characters of a version, or of a range of versions.
MAX_VERSION = 128
_FORBIDDEN = frozenset("/@?#%")


def check_name(name: object) -> str:
    """Return the name of a function or service, if it can be one segment of an address without escapes.

    Raises:
        RegistryError: kind "invalid", for an empty or overlong name, "." and "..", and names with "/", "@", "?", "#",
            "%", white space, control characters or lone surrogates.
    """
    broken = _broken_name_rule(name)
    if broken:
        message = f"the name of a function or service {broken}, got {name!r:.120}"
        raise RegistryError(message, name=str(name)[:MAX_NAME], kind="invalid")
    return str(name)


def _broken_name_rule(name: object) -> str:
    """Return the rule that a name breaks, worded to follow "the name", or ""."""
    if not isinstance(name, str):
        return "must be a string"
    if not name or len(name) > MAX_NAME:
        return f"must have 1 to {MAX_NAME} characters"
    if name in (".", ".."):
        return "must not be '.' or '..', which have a meaning in paths"
    for character in name:
        if character in _FORBIDDEN or character.isspace() or not character.isprintable():
            return f"must not contain {character!r}"
    return ""


def check_version(version: object) -> str:
    """Return the version, if it is one by PEP 440 and has at most `MAX_VERSION` characters.

    Raises: RegistryError (kind "invalid") for another.
    """
    if isinstance(version, str) and len(version) > MAX_VERSION:
        message = f"a version must have at most {MAX_VERSION} characters, got {len(version)}: {version[:40]!r}..."
        raise RegistryError(message, kind="invalid")
    if isinstance(version, str) and version.isascii() and version.isdigit():
        return version
    from packaging.version import InvalidVersion, Version

    try:
        Version(str(version) if isinstance(version, str) else "")
    except InvalidVersion as error:
        message = f"a version must be a string in the form of PEP 440, such as '1.2', got {version!r:.120}"
        raise RegistryError(message, kind="invalid") from error
    return str(version)
