"""ConsistentHash: send the calls of one key to one instance, as long as it has room for them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import ceil

from ..._internal.settings import callback, count, number
from ...calls.middleware import Call
from .candidate import Candidate

__all__ = ["ConsistentHash", "hash_of"]


def hash_of(text: str) -> int:
    """Return the same 64 bits for a text in each process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class _Ring:
    """Points on a circle of 64 bits, of which each belongs to a candidate.

    Threads: immutable but for the cached members; any.
    """

    def __init__(self, candidates: Sequence[Candidate], points: int) -> None:
        self.members = {candidate.text: candidate for candidate in candidates}
        placed = [
            (hash_of(f"{candidate.text}#{number}"), candidate)
            for candidate in candidates
            for number in range(max(1, round(points * candidate.instance.weight)))
        ]
        placed.sort(key=lambda point: point[0])
        self.hashes = [point[0] for point in placed]
        self.owners = [point[1] for point in placed]


class ConsistentHash:
    """Pick by a key of the call: calls with one key go to one instance, which may keep data about it.

    If an instance joins or leaves, only the keys next to its points on the circle move. An instance takes at most
    `bound` times its share of the calls in progress; further calls go to the next instance on the circle.

    Args:
        key: callable (call) -> the key; its text counts. None spreads a call over all instances.
        bound: how far above its share an instance may be loaded, at least 1.
        points: points on the circle for an instance of weight 1.

    Raises: ConfigError for a wrong setting.

    Threads: any; `key` runs in the thread of the call, without a lock.

    Source: Karger et al., "Consistent Hashing and Random Trees", 1997; Mirrokni, Thorup and Zadimoghaddam,
        "Consistent Hashing with Bounded Loads", 2016.
    """

    def __init__(self, key: Callable[[Call], object], *, bound: float = 1.25, points: int = 100) -> None:
        self._key = callback("consistent_hash.key", key)
        self._bound = number("consistent_hash.bound", bound, minimum=1)
        self._points = count("consistent_hash.points", points, maximum=10_000)
        self._ring: _Ring | None = None
        self._last: tuple[Sequence[Candidate], frozenset[str]] = ((), frozenset())

    def for_group(self) -> ConsistentHash:
        """Return a picker with the same settings and a circle of its own."""
        return ConsistentHash(self._key, bound=self._bound, points=self._points)

    def pick(self, candidates: Sequence[Candidate], call: Call) -> Candidate:
        """Return the candidate of the call's key; the next one with room if it is loaded."""
        key = self._key(call)
        if key is None:
            return min(candidates, key=lambda one: (one.outstanding + 1) / one.weight)
        ring, present = self._ring_of(candidates)
        loads = sum(one.outstanding for one in candidates) + 1
        weights = sum(one.weight for one in candidates)
        start = bisect_left(ring.hashes, hash_of(str(key)))
        seen: set[str] = set()
        size = len(ring.owners)
        for offset in range(size):
            candidate = ring.owners[(start + offset) % size]
            if candidate.text in seen or candidate.text not in present:
                continue
            if candidate.outstanding < ceil(self._bound * loads * candidate.weight / weights):
                return candidate
            seen.add(candidate.text)
            if len(seen) == len(present):
                break
        return min(candidates, key=lambda one: one.outstanding / one.weight)

    expected = pick

    def _ring_of(self, candidates: Sequence[Candidate]) -> tuple[_Ring, frozenset[str]]:
        """Return the circle, and the names of the candidates on it that may be picked.

        A candidate that is away for a while keeps its points, so that its keys come back to it.
        """
        known, present = self._last
        ring = self._ring
        if ring is not None and known is candidates:
            return ring, present
        present = frozenset(one.text for one in candidates)
        is_current = ring is not None and all(ring.members.get(one.text) is one for one in candidates)
        if ring is None or not is_current or len(ring.members) > 2 * len(candidates):
            ring = self._ring = _Ring(candidates, self._points)  # two threads may both make it, and make the same
        if isinstance(candidates, tuple):
            self._last = (candidates, present)
        return ring, present
