"""Expectations of calls, and the text that shows how the calls differ, near misses included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._internal.settings import whole_number
from .history import RecordedCall, format_params
from .matchers import params_match

__all__ = ["Expectation", "describe_failures"]


class Expectation:
    """The calls that a test expects: their number and parameters.

    Without a count, at least one call is expected. Each method returns the expectation itself.

    Threads: one sets it up; any may call the function.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.params: dict[str, Any] = {}
        self.minimum = 1
        self.maximum: int | None = None
        self.is_ordered = False

    def with_params(self, /, **params: Any) -> Expectation:
        """Count only calls with these parameters; values may be matchers."""
        self.params = params
        return self

    def times(self, number: int) -> Expectation:
        """Expect exactly that many calls."""
        return self._between(number, number)

    def at_least(self, number: int) -> Expectation:
        """Expect that many calls or more."""
        return self._between(number, None)

    def at_most(self, number: int) -> Expectation:
        """Expect that many calls or fewer."""
        return self._between(0, number)

    def never(self) -> Expectation:
        """Expect no call."""
        return self._between(0, 0)

    def in_order(self) -> Expectation:
        """Expect its calls after those of the expectations put in order before it.

        Calls count in the order they started. Calls that match no expectation in order may come between them.
        """
        self.is_ordered = True
        return self

    def _between(self, minimum: int, maximum: int | None) -> Expectation:
        whole_number("expectation.calls", minimum, minimum=0)
        whole_number("expectation.calls", maximum, minimum=0, optional=True)
        self.minimum, self.maximum = minimum, maximum
        return self

    def matches(self, record: RecordedCall) -> bool:
        """Return whether a call has the name and the parameters."""
        return record.name == self.name and params_match(self.params, record.params)

    def accepts(self, record: RecordedCall, count: int) -> bool:
        """Return whether a call matches and is within the maximum after `count` others."""
        return self.matches(record) and (self.maximum is None or count < self.maximum)

    def is_met_by(self, number: int) -> bool:
        """Return whether that many calls are as expected."""
        return number >= self.minimum and (self.maximum is None or number <= self.maximum)

    def __str__(self) -> str:
        if self.minimum == self.maximum:
            often = "never" if self.minimum == 0 else f"exactly {_times(self.minimum)}"
        else:
            often = f"at least {_times(self.minimum)}" if self.maximum is None else f"at most {_times(self.maximum)}"
        return f"{self.name}({format_params(self.params)}) {often}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def describe_failures(expectations: Iterable[Expectation], records: list[RecordedCall]) -> str:
    """Return text on the expectations that are not met and on all calls, or "" if all are met."""
    lines: list[str] = []
    ordered: list[Expectation] = []
    for expectation in expectations:
        if expectation.is_ordered:
            ordered.append(expectation)
            continue
        number = sum(expectation.matches(record) for record in records)
        if not expectation.is_met_by(number):
            lines.append(f"expected {expectation}, called {_times(number)}")
            lines += [f"  near miss: {miss}" for miss in _near_misses(expectation, records)]
    lines += _order_faults(ordered, sorted(records, key=lambda record: record.started))
    if lines:
        lines.append("calls:" if records else "there were no calls")
        lines += [f"  {record}" for record in records]
    return "\n".join(lines)


def _order_faults(ordered: list[Expectation], records: list[RecordedCall]) -> list[str]:
    """Describe the first call that does not follow the order, or the first expectation without its calls."""
    at = used = 0
    for record in records:
        if not any(expectation.matches(record) for expectation in ordered):
            continue
        while not ordered[at].accepts(record, used):
            if used < ordered[at].minimum or at + 1 == len(ordered):
                return _order_fault(ordered, ordered[at], records, f"{record}\n  came instead of {ordered[at]}")
            at, used = at + 1, 0
        used += 1
    for expectation in ordered[at:]:
        if used < expectation.minimum:
            return _order_fault(ordered, expectation, records, f"there were no more calls for {expectation}")
        used = 0
    return []


def _order_fault(ordered: list[Expectation], wanted: Expectation, records: list[RecordedCall], fault: str) -> list[str]:
    steps = [f"  {number}. {expectation}" for number, expectation in enumerate(ordered, 1)]
    misses = [f"  near miss: {miss}" for miss in _near_misses(wanted, records)]
    return ["expected in this order:", *steps, f"but {fault}", *misses]


def _near_misses(expectation: Expectation, records: list[RecordedCall]) -> list[str]:
    misses = []
    for record in records:
        if record.name == expectation.name and not expectation.matches(record):
            given = record.params if isinstance(record.params, Mapping) else {}
            differing = [
                f"{name} was {given.get(name, 'missing')!r}, not {value!r}"
                for name, value in expectation.params.items()
                if name not in given or value != given[name]
            ]
            misses.append("; ".join(differing))
    return misses
