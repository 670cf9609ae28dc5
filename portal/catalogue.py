"""Catalogue: functions by path and version, the look-up behind every registry and every portal.

A function published as `users/get_user` is found under that path, under `users/get_user@2`, under a version range, and
under `users/get_user/<id>`, where the id is the last segment of its address.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Literal, NamedTuple

from ._internal.at_fork import new_lock
from ._internal.settings import choice
from .errors import RegistryError
from .function import Function
from .schema import check_name
from .schema.function_schema import MAX_VERSION

__all__ = ["Catalogue", "Entry", "UniqueIds"]

Path = tuple[str, ...]
UniqueIds = Literal["fingerprint", "random", "sequence"]

_FINGERPRINT = re.compile(r"[0-9a-f]{8}")
_ALIKE = 0.6  # of two segments, 1.0 being the same
_MOST_COMPARED = 64  # characters of a segment that somebody sent


class Entry(NamedTuple):
    """One function in a catalogue: its path without the id, its id, and the function."""

    path: Path
    id: str
    function: Function

    @property
    def group(self) -> str:
        """The service that it is published in, or ""."""
        return self.path[0] if len(self.path) > 1 else ""

    @property
    def full_path(self) -> Path:
        """The path with the id, unique in its catalogue."""
        return (*self.path, self.id)


class Catalogue:
    """Functions by path and version.

    Args:
        unique_ids: "fingerprint" (replicas share it, a restart keeps it), "random", or "sequence" (1, 2, ...).

    Threads: any; look-ups take no lock.
    """

    def __init__(self, unique_ids: UniqueIds = "fingerprint") -> None:
        self._unique_ids = choice("unique_ids", unique_ids, ("fingerprint", "random", "sequence"))
        self._lock = new_lock()  # guards writes; readers see whole entries, since each dict step is atomic
        self._by_full_path: dict[Path, Entry] = {}
        self._by_path: dict[Path, tuple[Entry, ...]] = {}  # newest version first
        self._given: dict[Path, int] = {}  # how many ids of a sequence were given to a path

    def __len__(self) -> int:
        return len(self._by_full_path)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries())

    def entries(self) -> list[Entry]:
        """What is in it now, in the order it was added."""
        with self._lock:
            return list(self._by_full_path.values())

    def add(self, function: Function, prefix: Path = ()) -> Entry:
        """Add a function under `prefix`; adding the very same Function again gives the entry it has.

        Raises: RegistryError (conflict) when the name has that version already with another contract or function,
            (invalid) for a name that is no path segment.
        """
        path = (*prefix, check_name(function.name))
        with self._lock:
            versions = self._by_path.get(path, ())
            for entry in versions:
                if entry.function.schema.version == function.schema.version:
                    if entry.function is function:
                        return entry
                    raise _taken(path, function.schema.version, versions)
            entry = Entry(path, self._new_id(function, path), function)
            self._by_full_path[entry.full_path] = entry
            self._by_path[path] = _newest_first((*versions, entry))
            return entry

    def _new_id(self, function: Function, path: Path) -> str:
        if self._unique_ids == "sequence":
            self._given[path] = self._given.get(path, 0) + 1
            return str(self._given[path])
        return secrets.token_hex(8) if self._unique_ids == "random" else function.schema.fingerprint

    def find(self, path: Path, version: str | None = None) -> Entry | None:
        """The entry at `path`, which may end in an id or in `name@version`, or None.

        Args:
            version: a version ("2") or a range (">=1,<2"); the newest that fits is given.
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
            versions = (self._by_full_path[path],) if path in self._by_full_path else None
        if not versions:
            return None
        return versions[0] if version is None else _first_that_fits(versions, version)

    def get(self, path: Path, version: str | None = None, *, address: object = None) -> Entry:
        """As `find`; raises RegistryError (not_found) that says what is near."""
        entry = self.find(path, version)
        if entry is None:
            wanted = "/".join(path) + (f" version {version}" if version else "")
            raise RegistryError(f"no function {wanted}{self._hint(path)}", name=wanted, address=address)
        return entry

    def _hint(self, path: Path) -> str:
        with self._lock:
            known = list(self._by_path)
            versions = self._by_path.get(path[:-1], ())
        if versions and self._unique_ids == "fingerprint" and _FINGERPRINT.fullmatch(path[-1]):
            there = ", ".join("/".join(entry.full_path) for entry in versions[:3])
            return f"; its contract has another fingerprint now: {there}"
        near = [one for wanted in (path, path[:-1]) for one in _nearest(wanted, known)]  # the last may be an id
        names = list(dict.fromkeys("/".join(one) for one in near))[:3]
        return f"; did you mean {', '.join(names)}?" if names else ""

    def remove(self, path: Path, version: str | None = None) -> Entry:
        """Take out and give the entry that `get` finds."""
        with self._lock:
            entry = self.find(path, version)
            if entry is None:
                raise RegistryError(f"no function {'/'.join(path)}", name="/".join(path))
            self._drop(entry)
            return entry

    def discard(self, entry: Entry) -> None:
        """Take this entry out if it is still there."""
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

    def clear(self) -> int:
        """Take everything out; how many that were."""
        with self._lock:
            number = len(self._by_full_path)
            self._by_full_path.clear()
            self._by_path.clear()
            return number


def _taken(path: Path, version: str, versions: Iterable[Entry]) -> RegistryError:
    known = {entry.function.schema.version for entry in versions}
    free = next(number for number in map(str, count(2)) if number not in known)
    advice = f'publish this one as version="{free}", or remove(address) the other before'
    return RegistryError(f"{'/'.join(path)} version {version} is taken; {advice}", name=path[-1], kind="conflict")


def _newest_first(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if len(entries) < 2:
        return entries
    from packaging.version import Version

    return tuple(sorted(entries, key=lambda entry: Version(entry.function.schema.version), reverse=True))


def _first_that_fits(entries: tuple[Entry, ...], wanted: str) -> Entry | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    if len(wanted) > MAX_VERSION:  # of long ones packaging raises what it does not declare, or takes long
        raise RegistryError(f"{wanted[:40]!r}... is neither a version nor a range", kind="invalid")
    try:
        exact = Version(wanted)
    except InvalidVersion:
        try:
            fits = SpecifierSet(wanted).contains
        except InvalidSpecifier:
            raise RegistryError(f"{wanted!r} is neither a version nor a range", kind="invalid") from None
        return next((entry for entry in entries if fits(entry.function.schema.version, prereleases=True)), None)
    return next((entry for entry in entries if Version(entry.function.schema.version) == exact), None)


def _nearest(wanted: Path, known: Iterable[Path]) -> list[Path]:
    """Those of the paths that are alike, the nearest first.

    Segment by segment: two functions of one service are not alike for that. Where only the service is left out, or one
    too many, the name decides.
    """
    from difflib import SequenceMatcher

    matchers = [SequenceMatcher(b=segment[:_MOST_COMPARED]) for segment in wanted]

    def ratio(matcher: SequenceMatcher[str], segment: str) -> float:
        matcher.set_seq1(segment)
        # the first two are upper bounds, and spare most names the third
        if matcher.real_quick_ratio() < _ALIKE or matcher.quick_ratio() < _ALIKE:
            return 0.0
        return matcher.ratio()

    def likeness(one: Path) -> float:
        if len(one) != len(wanted):
            return 0.7 if wanted and one[-1] == wanted[-1] else 0.0
        least = 1.0
        for matcher, segment in zip(matchers, one, strict=True):
            least = min(least, ratio(matcher, segment))
            if least < _ALIKE:
                return 0.0
        return least

    ranked = sorted(((likeness(one), one) for one in known), key=lambda row: -row[0])
    return [one for ratio, one in ranked[:3] if ratio >= _ALIKE]
