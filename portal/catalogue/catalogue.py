"""Catalogue: the functions of a registry or portal by path and version.

A function published as `users/get_user` is found at that path, at `users/get_user@2`, and by a version range. It is
also found at `users/get_user/<id>`, where the id is the last segment of its address.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Literal, NamedTuple

from .._internal.at_fork import new_lock
from .._internal.settings import choice
from ..errors import RegistryError
from ..function import Function
from ..schema import check_name
from .suggestions import most_similar
from .versions import first_match, newest_first

__all__ = ["Catalogue", "Entry", "UniqueIds"]

Path = tuple[str, ...]
UniqueIds = Literal["fingerprint", "random", "sequence"]

_MAX_ECHO = 100  # characters
_FINGERPRINT = re.compile(r"[0-9a-f]{8}")


class Entry(NamedTuple):
    """A function in a catalogue.

    Attributes:
        path: the path without the id.
        id: the last segment of its address.
        function: the function.
    """

    path: Path
    id: str
    function: Function

    @property
    def name(self) -> str:
        """The path without the id as text, such as "orders/total"."""
        return "/".join(self.path)

    @property
    def group(self) -> str:
        """The name of the service in which it is published, or ""."""
        return self.path[0] if len(self.path) > 1 else ""

    @property
    def full_path(self) -> Path:
        """The path with the id; it is unique in the catalogue."""
        return (*self.path, self.id)


class Catalogue:
    """Functions by path and version.

    Args:
        unique_ids: where ids come from. "fingerprint" ids are the same for replicas and after a restart. "random" ids
            are not. "sequence" ids are 1, 2, and so on.

    Attributes:
        generation: a number that differs after each change.

    Raises: ConfigError for another value.

    Threads: any; look-ups take no lock.
    """

    def __init__(self, unique_ids: UniqueIds = "fingerprint") -> None:
        self._unique_ids = choice("unique_ids", unique_ids, ("fingerprint", "random", "sequence"))
        self._lock = new_lock()  # guards writes; readers need none, since each operation on a dict is atomic
        self.generation = 0
        self._by_full_path: dict[Path, Entry] = {}
        self._by_path: dict[Path, tuple[Entry, ...]] = {}  # newest version first
        self._last_ids: dict[Path, int] = {}  # the last id of a sequence by path

    def __len__(self) -> int:
        return len(self._by_full_path)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries())

    def entries(self) -> list[Entry]:
        """Return the present entries in the order in which they were added."""
        with self._lock:
            return list(self._by_full_path.values())

    def add(self, function: Function, prefix: Path = ()) -> Entry:
        """Add a function.

        Args:
            function: the function.
            prefix: the path above its name, such as that of its service.

        Returns: the entry. Adding the same Function object again returns the entry that it has.
        Raises: RegistryError (conflict) if another function has this path and version; (invalid) for a name that is not
            a path segment.
        """
        path = (*prefix, check_name(function.name))
        with self._lock:
            versions = self._by_path.get(path, ())
            for entry in versions:
                if entry.function.schema.version == function.schema.version:
                    if entry.function is function:
                        return entry
                    raise _conflict(path, function.schema.version, versions)
            entry = Entry(path, self._new_id(function, path), function)
            self._by_full_path[entry.full_path] = entry
            self._by_path[path] = newest_first((*versions, entry), _version_of)
            self.generation += 1
            return entry

    def _new_id(self, function: Function, path: Path) -> str:
        if self._unique_ids == "sequence":
            self._last_ids[path] = self._last_ids.get(path, 0) + 1
            return str(self._last_ids[path])
        return secrets.token_hex(8) if self._unique_ids == "random" else function.schema.fingerprint

    def find(self, path: Path, version: str | None = None) -> Entry | None:
        """Return the entry at a path, or None.

        Args:
            path: it may end in an id or in `name@version`.
            version: a version ("2") or a range (">=1,<2"), of which the newest match is returned; None for the newest.

        Raises: RegistryError (invalid) for text that is neither a version nor a range.
        """
        if version is None:
            entry = self._by_full_path.get(path)
            if entry is not None:
                return entry
        versions = self._by_path.get(path)
        if versions is None and path and "@" in path[-1]:
            name, _, version = path[-1].partition("@")
            versions = self._by_path.get((*path[:-1], name))
        if versions is None and version is not None:
            entry = self._by_full_path.get(path)
            versions = None if entry is None else (entry,)
        if not versions:
            return None
        return versions[0] if version is None else first_match(versions, version, _version_of)

    def get(self, path: Path, version: str | None = None, *, address: object = None) -> Entry:
        """Return the entry at a path; see `find`.

        Args:
            address: the address that was called, for the error.

        Raises: RegistryError (not_found), which suggests similar names; also as `find`.
        """
        entry = self.find(path, version)
        if entry is None:
            wanted = _cut("/".join(path)) + (f" version {_cut(version)}" if version else "")
            raise RegistryError(f"there is no function {wanted}", name=wanted, address=address, hint=self._hint(path))
        return entry

    def service_hint(self, path: Path) -> str:
        """Return what was perhaps meant by the path of a service that is not published; "" if that is unknown."""
        if self.find(path) is not None:
            return "there is a function; use Consumer.resolve(address)"
        with self._lock:
            services = {one[:1] for one in self._by_path if len(one) == 2}
        names = ["/".join(one) for one in most_similar(path, services)]
        return f"did you mean {', '.join(names)}?" if names else ""

    def _hint(self, path: Path) -> str:
        with self._lock:
            published = list(self._by_path)
            versions = self._by_path.get(path[:-1], ())
        if versions and self._unique_ids == "fingerprint" and _FINGERPRINT.fullmatch(path[-1]):
            current = ", ".join("/".join(entry.full_path) for entry in versions[:3])
            return f"its schema has another fingerprint now: {current}"
        if len(path) == 1:  # perhaps a service was meant
            members = sorted(one for one in published if one[:-1] == path)
            if members:
                return (
                    f"there is a service; use Consumer.service(address), or a function such as {'/'.join(members[0])}"
                )
            published += sorted({one[:1] for one in published if len(one) == 2})
        paths = (path, path[:-1])  # the last segment may be an id
        similar = [found for one in paths for found in most_similar(one, published)]
        names = list(dict.fromkeys("/".join(found) for found in similar))[:3]
        return f"did you mean {', '.join(names)}?" if names else ""

    def remove(self, path: Path, version: str | None = None) -> Entry:
        """Remove the entry that `find` returns, and return it.

        Raises: RegistryError (not_found) if there is none; also as `find`.
        """
        with self._lock:
            entry = self.find(path, version)
            if entry is None:
                raise RegistryError(f"there is no function {_cut('/'.join(path))}", name=_cut("/".join(path)))
            self._drop(entry)
            return entry

    def discard(self, entry: Entry) -> None:
        """Remove this entry if it is still present."""
        with self._lock:
            if self._by_full_path.get(entry.full_path) is entry:
                self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        del self._by_full_path[entry.full_path]
        left = tuple(other for other in self._by_path[entry.path] if other is not entry)
        if left:
            self._by_path[entry.path] = left
        else:
            del self._by_path[entry.path]
        self.generation += 1

    def clear(self) -> int:
        """Remove everything. Return the number of entries removed."""
        with self._lock:
            number = len(self._by_full_path)
            self._by_full_path.clear()
            self._by_path.clear()
            self.generation += 1
            return number


def _cut(text: str) -> str:
    """Return text of a client that fits into a message."""
    return text if len(text) <= _MAX_ECHO else f"{text[:_MAX_ECHO]}..."


def _version_of(entry: Entry) -> str:
    return entry.function.schema.version


def _conflict(path: Path, version: str, versions: Iterable[Entry]) -> RegistryError:
    used = {entry.function.schema.version for entry in versions}
    free = next(number for number in map(str, count(2)) if number not in used)
    message = f"{'/'.join(path)} version {version} is published already"
    hint = f'publish this one as version="{free}", or call remove(address) first'
    return RegistryError(message, name=path[-1], kind="conflict", hint=hint)
