"""Which published paths to suggest for a path that is not published."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["most_similar"]

Path = tuple[str, ...]

_MIN_SIMILARITY = 0.6  # of two segments; 1.0 for equal ones
_MAX_COMPARED = 64  # characters of a segment, which a client may have sent


def most_similar(path: Path, published: Iterable[Path]) -> list[Path]:
    """Return at most three similar paths, the most similar first.

    Segments are compared one by one, so that a common service does not make two functions similar. If only one of the
    two paths has a service, the names decide.
    """
    from difflib import SequenceMatcher

    matchers = [SequenceMatcher(b=segment[:_MAX_COMPARED]) for segment in path]

    def ratio(matcher: SequenceMatcher[str], segment: str) -> float:
        matcher.set_seq1(segment)
        # The first two are upper bounds. They are cheap, and most names need no more.
        if matcher.real_quick_ratio() < _MIN_SIMILARITY or matcher.quick_ratio() < _MIN_SIMILARITY:
            return 0.0
        return matcher.ratio()

    def similarity(one: Path) -> float:
        if len(one) != len(path):
            return 0.7 if path and one[-1] == path[-1] else 0.0
        least = 1.0
        for matcher, segment in zip(matchers, one, strict=True):
            least = min(least, ratio(matcher, segment))
            if least < _MIN_SIMILARITY:
                return 0.0
        return least

    ranked = sorted(((similarity(one), one) for one in published), key=lambda row: -row[0])
    return [one for ratio, one in ranked[:3] if ratio >= _MIN_SIMILARITY]
