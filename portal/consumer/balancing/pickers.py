"""Pickers: how one of several instances is chosen for a call.

A picker is any object with a method `pick(candidates, call)` that returns one of the candidates:

    class Newest:
        def pick(self, candidates, call):
            return max(candidates, key=lambda one: one.instance.version or "")

    Policy(balance=Newest)

A group makes a picker of its own from a class, and a copy of its own from an object.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from ..._internal.at_fork import new_lock
from ..._internal.counter import number_source
from ...calls.middleware import Call
from .candidate import Candidate

__all__ = [
    "LeastOutstanding",
    "PeakEWMA",
    "PickFirst",
    "Picker",
    "RoundRobin",
    "WeightedRoundRobin",
    "expected",
]

Candidates = Sequence[Candidate]


@runtime_checkable
class Picker(Protocol):
    """Chooses an instance.

    A picker may also have `expected(candidates, call)`: what the next `pick` would return, or None if that is not
    certain. `Consumer.explain` asks it, so it must not change the picker.

    Threads: any; no lock is held during `pick`.
    """

    def pick(self, candidates: Candidates, call: Call) -> Candidate:
        """Return one of the candidates, of which there is at least one."""


def expected(picker: Picker, candidates: Candidates, call: Call) -> Candidate | None:
    """Return what the next `pick` would return, without a turn; None if that is not certain."""
    ask = getattr(picker, "expected", None)
    found: Candidate | None = ask(candidates, call) if callable(ask) else None
    return found


class PickFirst:
    """Pick the first candidate, in the order of the addresses. The others are used if it fails.

    Threads: any.
    """

    def pick(self, candidates: Candidates, call: Call) -> Candidate:
        """Return the first candidate."""
        return candidates[0]

    expected = pick


class RoundRobin:
    """Pick one candidate after the other. Weights count only during the slow start.

    Args:
        random: returns a number from 0 to 1.

    Threads: any.
    """

    def __init__(self, *, random: Callable[[], float] = _random.random) -> None:
        self._random = random
        self._turn = number_source(0)
        self._last = -1

    def pick(self, candidates: Candidates, call: Call) -> Candidate:
        """Return the next candidate."""
        count = len(candidates)
        turn = self._last = self._turn()
        found = candidates[turn % count]
        if found.ramp < 1.0:  # during the slow start it passes most of its turns on
            for _ in range(count):
                if self._random() < found.ramp:
                    break
                turn += 1
                found = candidates[turn % count]
        return found

    def expected(self, candidates: Candidates, call: Call) -> Candidate | None:
        """Return the candidate whose turn is next; None during a slow start."""
        found = candidates[(self._last + 1) % len(candidates)]
        return found if found.ramp == 1.0 else None


class WeightedRoundRobin:
    """Pick candidates by their weights, evenly spread: of weights 5, 1 and 1 as A A B A C A A.

    Threads: any.
    """

    def __init__(self) -> None:
        self._lock = new_lock()  # guards the credits of the candidates

    def pick(self, candidates: Candidates, call: Call) -> Candidate:
        """Give each candidate its weight as credit; return the one with the most, which pays the sum of the weights."""
        with self._lock:
            best, total, most = candidates[0], 0.0, float("-inf")
            for candidate in candidates:
                weight = candidate.weight
                total += weight
                candidate.credit = credit = candidate.credit + weight
                if credit > most:
                    best, most = candidate, credit
            best.credit -= total
        return best

    def expected(self, candidates: Candidates, call: Call) -> Candidate:
        """Return the candidate whose turn is next."""
        return max(candidates, key=lambda one: one.credit + one.weight)


class LeastOutstanding:
    """Pick the candidate with the fewest calls in progress for its weight; among equals one after the other.

    Threads: any.
    """

    def __init__(self) -> None:
        self._turn = number_source(0)

    def pick(self, candidates: Candidates, call: Call) -> Candidate:
        """Return the least loaded candidate."""
        count = len(candidates)
        start = self._turn()
        best, least = candidates[start % count], float("inf")
        for offset in range(count):
            candidate = candidates[(start + offset) % count]
            load = (candidate.outstanding + 1) / candidate.weight
            if load < least:
                best, least = candidate, load
        return best

    def expected(self, candidates: Candidates, call: Call) -> Candidate | None:
        """Return the least loaded candidate; None if several are equal."""
        loads = sorted(((one.outstanding + 1) / one.weight, index) for index, one in enumerate(candidates))
        is_certain = len(loads) == 1 or loads[0][0] < loads[1][0]
        return candidates[loads[0][1]] if is_certain else None


class PeakEWMA:
    """Pick the cheaper of two random candidates; the cost is latency times calls in progress (`Candidate.cost`).

    The choice between two costs the same for any number of instances. It does not send all callers to the one that was
    best a moment ago.

    Args:
        random: returns a number from 0 to 1.

    Threads: any.

    Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001; the peak EWMA of Finagle.
    """

    def __init__(self, *, random: Callable[[], float] = _random.random) -> None:
        self._random = random

    def pick(self, candidates: Candidates, call: Call) -> Candidate:
        """Return the cheaper one of two."""
        count = len(candidates)
        if count == 1:
            return candidates[0]
        first = int(self._random() * count)
        second = (first + 1 + int(self._random() * (count - 1))) % count
        one, other = candidates[first], candidates[second]
        return other if other.cost < one.cost else one

    def expected(self, candidates: Candidates, call: Call) -> Candidate | None:
        """Return the only candidate, or the cheaper one of two; None if chance decides."""
        return min(candidates, key=lambda one: one.cost) if len(candidates) <= 2 else None
