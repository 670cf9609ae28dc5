"""Call history and expectations: what came, what was expected, and the words for the difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .matchers import params_match

__all__ = ["CallRecord", "Expectation", "report"]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call that came.

    Attributes:
        name: of the function, with its service's name before it if it has one.
        params: as they came, JSON data.
        result: JSON data; the list of items of a stream.
        error: what the caller got instead, or None.
        duration: seconds.
        request_id: of the call.
    """

    name: str
    params: Mapping[str, Any]
    result: Any
    error: BaseException | None
    duration: float
    request_id: str

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
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

    def _between(self, least: int, most: int | None) -> Expectation:
        if least < 0 or (most is not None and most < 0):
            raise ConfigError(f"a count of {min(least, most or 0)}", path="times", allowed="0 or more")
        self.least, self.most = least, most
        return self

    def counts(self, record: CallRecord) -> bool:
        """Whether a call is one of those meant."""
        return record.name == self.name and params_match(self.params, record.params)

    def is_met_by(self, number: int) -> bool:
        """Whether so many calls are as expected."""
        return number >= self.least and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        wanted = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        if self.least == self.most:
            often = "never" if self.least == 0 else f"exactly {self.least} times"
        else:
            often = f"at least {self.least} times" if self.most is None else f"at most {self.most} times"
        return f"{self.name}({wanted}) {often}"


def report(expectations: Iterable[Expectation], records: list[CallRecord]) -> str:
    """What was expected and did not come so, or "" when all is well."""
    lines: list[str] = []
    for expectation in expectations:
        number = sum(expectation.counts(record) for record in records)
        if not expectation.is_met_by(number):
            lines.append(f"expected {expectation}, came {number} times")
            lines += [f"  near miss: {words}" for words in _near_misses(expectation, records)]
    if lines:
        lines.append("what came:" if records else "nothing came")
        lines += [f"  {record}" for record in records]
    return "\n".join(lines)


def _near_misses(expectation: Expectation, records: list[CallRecord]) -> list[str]:
    misses = []
    for record in records:
        if record.name == expectation.name and not expectation.counts(record):
            differing = [
                f"{name} was {record.params.get(name, 'missing')!r}, not {value!r}"
                for name, value in expectation.params.items()
                if name not in record.params or value != record.params[name]
            ]
            misses.append("; ".join(differing))
    return misses
