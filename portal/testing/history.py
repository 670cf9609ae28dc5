"""Call history and expectations: what came, what was expected, and the words for the difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from .._internal.settings import whole_number
from ..schema import is_json
from .matchers import params_match

__all__ = ["CallRecord", "Expectation", "report", "snapshot"]


def snapshot(value: Any) -> Any:
    """JSON data as it is now, safe from what its owner does to it later; anything else as it is."""
    value = dict(value) if isinstance(value, Mapping) else value
    return deepcopy(value) if is_json(value) else value


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call that came.

    Attributes:
        name: of the function, with its service's name before it if it has one.
        params: as they came: JSON data, unless the call was refused because they are none.
        result: JSON data; the list of items of a stream.
        error: what the caller got instead, or None.
        duration: seconds.
        request_id: of the call.
        started: when the call came, in seconds of the portal's clock.
    """

    name: str
    params: Any
    result: Any
    error: BaseException | None
    duration: float
    request_id: str
    started: float = 0.0

    def __str__(self) -> str:
        given = _words(self.params)
        outcome = f"raised {type(self.error).__name__}" if self.error is not None else f"gave {self.result!r}"
        return f"{self.name}({given}) {outcome}"


class Expectation:
    """What a test expects of a function: how often it is called, and with what.

    Without a count, at least one call is expected. Each method gives the expectation itself. One thread sets it up; any
    may call the function.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.params: dict[str, Any] = {}
        self.least = 1
        self.most: int | None = None
        self.ordered = False

    def with_params(self, **params: Any) -> Expectation:
        """Count only calls with these parameters; values may be matchers."""
        self.params = params
        return self

    def times(self, number: int) -> Expectation:
        """Expect exactly so many calls."""
        return self._between(number, number)

    def at_least(self, number: int) -> Expectation:
        """Expect so many calls or more."""
        return self._between(number, None)

    def at_most(self, number: int) -> Expectation:
        """Expect so many calls or fewer."""
        return self._between(0, number)

    def never(self) -> Expectation:
        """Expect no call."""
        return self._between(0, 0)

    def in_order(self) -> Expectation:
        """Expect its calls after those of the expectations that were put in order before it.

        Calls are in the order they began; those that no expectation in order means may come between.
        """
        self.ordered = True
        return self

    def _between(self, least: int, most: int | None) -> Expectation:
        self.least = whole_number("expectation.times", least, minimum=0)
        self.most = whole_number("expectation.times", most, minimum=0, optional=True)
        return self

    def counts(self, record: CallRecord) -> bool:
        """Whether a call is one of those meant."""
        return record.name == self.name and params_match(self.params, record.params)

    def takes(self, record: CallRecord, used: int) -> bool:
        """Whether a call is one of those meant and may still come after `used` others."""
        return self.counts(record) and (self.most is None or used < self.most)

    def is_met_by(self, number: int) -> bool:
        """Whether so many calls are as expected."""
        return number >= self.least and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        if self.least == self.most:
            often = "never" if self.least == 0 else f"exactly {self.least} times"
        else:
            often = f"at least {self.least} times" if self.most is None else f"at most {self.most} times"
        return f"{self.name}({_words(self.params)}) {often}"


def _words(params: Any) -> str:
    if not isinstance(params, Mapping):
        return repr(params)
    return ", ".join(f"{name}={value!r}" for name, value in params.items())


def report(expectations: Iterable[Expectation], records: list[CallRecord]) -> str:
    """What was expected and did not come so, or "" when all is well."""
    lines: list[str] = []
    ordered: list[Expectation] = []
    for expectation in expectations:
        if expectation.ordered:
            ordered.append(expectation)
            continue
        number = sum(expectation.counts(record) for record in records)
        if not expectation.is_met_by(number):
            lines.append(f"expected {expectation}, came {number} times")
            lines += [f"  near miss: {words}" for words in _near_misses(expectation, records)]
    lines += _order_faults(ordered, sorted(records, key=lambda record: record.started))
    if lines:
        lines.append("what came:" if records else "nothing came")
        lines += [f"  {record}" for record in records]
    return "\n".join(lines)


def _order_faults(ordered: list[Expectation], records: list[CallRecord]) -> list[str]:
    """Walks the calls and the expectations side by side; words for the first place where they part."""
    at = used = 0
    for record in records:
        if not any(expectation.counts(record) for expectation in ordered):
            continue
        while not ordered[at].takes(record, used):
            if used < ordered[at].least or at + 1 == len(ordered):
                return _parted(ordered, ordered[at], records, f"{record}\n  came in the place of {ordered[at]}")
            at, used = at + 1, 0
        used += 1
    for expectation in ordered[at:]:
        if used < expectation.least:
            return _parted(ordered, expectation, records, f"nothing more came in the place of {expectation}")
        used = 0
    return []


def _parted(ordered: list[Expectation], wanted: Expectation, records: list[CallRecord], words: str) -> list[str]:
    steps = [f"  {number}. {expectation}" for number, expectation in enumerate(ordered, 1)]
    misses = [f"  near miss: {miss}" for miss in _near_misses(wanted, records)]
    return ["expected in this order:", *steps, f"but {words}", *misses]


def _near_misses(expectation: Expectation, records: list[CallRecord]) -> list[str]:
    misses = []
    for record in records:
        if record.name == expectation.name and not expectation.counts(record):
            given = record.params if isinstance(record.params, Mapping) else {}
            differing = [
                f"{name} was {given.get(name, 'missing')!r}, not {value!r}"
                for name, value in expectation.params.items()
                if name not in given or value != given[name]
            ]
            misses.append("; ".join(differing))
    return misses
