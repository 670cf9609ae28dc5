"""Suggest published paths for a path that is not published."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from itertools import islice

__all__ = ["most_similar"]

Path = tuple[str, ...]

_MIN_SIMILARITY = 0.6  # of two segments; 1.0 for equal ones
_MAX_SEGMENT = 64  # characters; longer names get no suggestions
_MAX_DEPTH = 4  # segments of a path, of which published ones have at most three
_MAX_SCANNED = 1000  # published paths whose lengths are looked at
_MAX_CANDIDATES = 30  # published paths that are compared
_LONGEST = 2 / _MIN_SIMILARITY - 1  # how many times as long one of two similar segments may be


def most_similar(path: Path, published: Iterable[Path]) -> list[Path]:
    """Return at most three similar paths, the most similar first.

    Segments are compared one by one, so that a common service does not make two functions similar. If only one of the
    two paths has a service, the names decide.

    A client may send any path, any number of times. A path with a long segment gets no suggestions, and only some of
    the published paths are compared.
    """
    if not path or len(path) > _MAX_DEPTH or max(map(len, path)) > _MAX_SEGMENT:
        return []
    candidates = _of_similar_length(path, published)
    if not candidates:
        return []
    from difflib import SequenceMatcher

    matchers = [SequenceMatcher(b=segment) for segment in path]

    def ratio(matcher: SequenceMatcher[str], segment: str) -> float:
        matcher.set_seq1(segment)
        # The first two are upper bounds. They are cheap, and most names need no more.
        if matcher.real_quick_ratio() < _MIN_SIMILARITY or matcher.quick_ratio() < _MIN_SIMILARITY:
            return 0.0
        return matcher.ratio()

    def similarity(one: Path) -> float:
        if len(one) != len(path):
            return 0.7 if one[-1] == path[-1] else 0.0
        least = 1.0
        for matcher, segment in zip(matchers, one, strict=True):
            least = min(least, ratio(matcher, segment))
            if least < _MIN_SIMILARITY:
                return 0.0
        return least

    ranked = sorted(((similarity(one), one) for one in candidates), key=lambda row: -row[0])
    return [one for ratio, one in ranked[:3] if ratio >= _MIN_SIMILARITY]


def _of_similar_length(path: Path, published: Iterable[Path]) -> list[Path]:
    """Return the published paths whose names may be similar by their lengths, at most `_MAX_CANDIDATES`.

    Of more, those that begin alike and have the closest length are returned.
    """
    name, length = path[-1], len(path[-1])
    scanned = islice(published, _MAX_SCANNED)
    found = [one for one in scanned if length <= _LONGEST * len(one[-1]) and len(one[-1]) <= _LONGEST * length]
    if len(found) <= _MAX_CANDIDATES:
        return found

    def distance(one: Path) -> tuple[bool, bool, int]:
        return len(one) != len(path), one[-1][:2] != name[:2], abs(len(one[-1]) - length)

    return nsmallest(_MAX_CANDIDATES, found, key=distance)
