"""Regular expressions of schemas, on an engine whose time grows linearly with the text.

A backtracking engine may take longer than the universe exists, and no thread can run meanwhile: jsonschema-rs and
Python's `re` hold the interpreter's lock. Portal therefore rejects lookaround and backreferences, which need one.

Even a linear engine has a factor: the number of states that it may be in at each character. It grows with counted
repetitions such as `[01]{1000}`, and so with the size of the compiled pattern. A pattern whose compiled size exceeds
`_SMALL` is costly. Portal matches it with one text at a time, of bounded length, so that other threads run in between
and the time can end. docs/decisions/0022-linear-patterns.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jsonschema_rs

from ...errors import ConfigError
from ...errors.fault import shorten
from ..jsondata import is_json
from ..subschemas import map_subschemas, walk
from .limits import Allowance, counters, limits

__all__ = ["LinearPattern", "PatternPlan", "linear_pattern", "plan_patterns"]

#: Compiled size in bytes -> microseconds for a character of the worst text that is known.
_COSTS = {
    1 << 10: 0.05,
    1 << 12: 3.5,
    1 << 14: 7.5,
    1 << 16: 32.0,
    1 << 18: 100.0,
    1 << 20: 300.0,
    1 << 21: 400.0,
    1 << 22: 600.0,
    10 << 20: 1000.0,
}
_SMALL = 1 << 10
#: Compiled bytes of all patterns of one schema. Compiling takes about 5 ms for a MiB.
_MAX_TOTAL = 64 << 20
#: Microseconds for a character; more small patterns than that are costly together.
_MAX_SUM = 2.0
#: Microseconds that one text may take in the worst case.
_MAX_TEXT = 500_000.0


class LinearPattern:
    """A compiled regular expression of ECMA-262, without lookaround and backreferences.

    Attributes:
        text: the expression.
        size: bytes that its compiled form has at most.
        cost: microseconds for a character of the worst text.
        max_length: characters of a text that it may be matched with. It does not match a longer one.

    Threads: any.
    """

    __slots__ = ("_is_valid", "cost", "max_length", "size", "text")

    def __init__(self, text: str, size: int, is_valid: Callable[[Any], bool]) -> None:
        self.text = text
        self.size = size
        self.cost = _COSTS[size]
        self.max_length = int(_MAX_TEXT / self.cost)
        self._is_valid = is_valid

    def matches(self, text: str) -> bool:
        """Return whether a part of the text matches."""
        return len(text) <= self.max_length and self._is_valid(text)


@lru_cache(maxsize=1024)
def linear_pattern(text: str) -> LinearPattern:
    """Return the pattern. Raises ConfigError for one that the engine cannot run."""
    for size in _COSTS:
        options = jsonschema_rs.RegexOptions(size_limit=size)
        try:
            made = jsonschema_rs.Draft202012Validator({"pattern": text}, offline=True, pattern_options=options)
        except (jsonschema_rs.ValidationError, ValueError):
            continue
        return LinearPattern(text, size, made.is_valid)
    message = f"not a valid JSON Schema 2020-12 for Portal: the pattern {shorten(text)} {_reason(text)}"
    raise ConfigError(message, path="pattern")


def _reason(text: str) -> str:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": text}, offline=True)
    except (jsonschema_rs.ValidationError, ValueError):
        return f"must be a regular expression of ECMA-262 that takes at most {max(_COSTS) >> 20} MiB when compiled"
    return (
        "must not use lookaround or backreferences: no engine runs them in linear time; "
        "use several patterns in allOf, or not, or validate in the function"
    )


class _MultipleOf:
    """The keyword that stands in for `multipleOf` of a fraction, which takes 30 us for a number such as 1e300."""

    def __init__(self, schema: dict[str, Any], value: Any, path: list[str | int]) -> None:
        self._is_valid = jsonschema_rs.Draft202012Validator({"multipleOf": value}, offline=True).is_valid

    def validate(self, instance: Any) -> None:
        """Raise ValueError for a number that is not a multiple."""
        if allowance.is_over() or not self._is_valid(instance):
            raise ValueError


_MULTIPLE_OF = "x-portal-multipleOf"


class PatternPlan:
    """The rules by which patterns, and fractions of `multipleOf`, of one schema are matched.

    Attributes:
        schema: the schema for the compiler; a format stands in for each costly pattern.
        formats: name of such a format -> its function.
        keywords: name of a keyword that stands in for another -> its class.
        names_cost: microseconds for a character of a member's name, of all `patternProperties` together; 0 if that is
            little.
        options: for the compiler; they admit no costly pattern that the plan has not seen.
    """

    __slots__ = ("formats", "keywords", "names_cost", "options", "schema")

    def __init__(self, schema: Any, formats: dict[str, Callable[[Any], bool]], names_cost: float, size: int) -> None:
        has_fractions = any(isinstance(part.get("multipleOf"), float) for part in walk(schema))
        self.keywords: dict[str, Any] = {_MULTIPLE_OF: _MultipleOf} if has_fractions else {}
        self.schema = _with_keyword(schema) if has_fractions else schema
        self.formats = formats
        self.names_cost = names_cost
        self.options = jsonschema_rs.RegexOptions(size_limit=size)

    def guard(self, accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
        """Return the test of a value with the bounds of its patterns around it."""
        if not self.formats and not self.keywords and not self.names_cost:
            return accepts
        cost = self.names_cost

        def guarded(value: Any) -> bool:
            if cost and (not is_json(value) or _names_length(value) * cost > _MAX_TEXT):
                return False
            allowance.start(limits().pattern_time)
            accepted = accepts(value)
            if allowance.exceeded:
                counters.patterns.add()
            return accepted and not allowance.exceeded

        return guarded


#: For costly patterns while a value is tested.
allowance = Allowance()


def plan_patterns(schema: Any) -> PatternPlan:
    """Return how to match the patterns of a JSON Schema.

    Raises: ConfigError for a pattern that the engine cannot run, and for patterns that are too large together.
    """
    values: set[str] = set()
    names: list[str] = []
    for part in walk(schema):
        if isinstance(part.get("pattern"), str):
            values.add(part["pattern"])
        if isinstance(part.get("patternProperties"), dict):
            names.extend(part["patternProperties"])
    if not values and not names:
        return PatternPlan(schema, {}, 0.0, _SMALL)
    total = 0
    for text in (*values, *names):
        total += linear_pattern(text).size
        if total > _MAX_TOTAL:
            counters.schemas.add()
            raise ConfigError(
                f"the patterns of a schema must take at most {_MAX_TOTAL >> 20} MiB when compiled",
                path="pattern",
                expected="fewer or smaller patterns",
            )
    small = {text for text in values if linear_pattern(text).size == _SMALL}
    costly = sorted(values if len(small) * _COSTS[_SMALL] > _MAX_SUM else values - small)
    names_cost = sum(linear_pattern(text).cost for text in names)
    largest = max((linear_pattern(text).size for text in names), default=_SMALL)
    if largest == _SMALL and names_cost <= _MAX_SUM:
        names_cost = 0.0
    formats = {text: f"x-portal-pattern-{number}" for number, text in enumerate(costly)}
    made = {name: _format_of(linear_pattern(text)) for text, name in formats.items()}
    return PatternPlan(_with_formats(schema, formats) if formats else schema, made, names_cost, largest)


def _format_of(pattern: LinearPattern) -> Callable[[Any], bool]:
    def has_format(value: Any) -> bool:
        return type(value) is not str or (not allowance.is_over() and pattern.matches(value))

    return has_format


def _with_formats(schema: Any, formats: dict[str, str]) -> Any:
    if not isinstance(schema, dict):
        return schema
    made = map_subschemas(schema, lambda part: _with_formats(part, formats))
    pattern = made.get("pattern")
    if isinstance(pattern, str) and pattern in formats:
        del made["pattern"]
        others = made.get("allOf", [])
        made["allOf"] = [*others, {"format": formats[pattern]}] if isinstance(others, list) else others
    return made


def _with_keyword(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    made = map_subschemas(schema, _with_keyword)
    fraction, others = made.get("multipleOf"), made.get("allOf", [])
    if isinstance(fraction, float) and fraction > 0 and isinstance(others, list):
        del made["multipleOf"]
        made["allOf"] = [*others, {"if": {"type": "number"}, "then": {_MULTIPLE_OF: fraction}}]
    return made


def _names_length(value: Any) -> int:
    """Return the number of characters of all names of members within a value."""
    length = 0
    pending = [value]
    while pending:
        part = pending.pop()
        if type(part) is dict:
            length += sum(len(name) for name in part if type(name) is str)
            pending.extend(part.values())
        elif type(part) is list:
            pending.extend(part)
    return length
