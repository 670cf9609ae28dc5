"""Keywords of the jsonschema library, replaced so that a report is bounded and agrees with the compiled validator.

Each keyword takes a step of the report's allowance. Regular expressions run on the linear engine, `multipleOf` and
`uniqueItems` in jsonschema-rs. Keywords that look at every item or member take a step for each, and the unevaluated...
keywords keep sets, where the library searches lists.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError as SchemaFault

from ..jsondata import shorten
from .limits import Allowance, limits
from .patterns import linear_pattern

__all__ = ["KEYWORDS", "ReportEnded", "start_report", "unknown_names"]

Keyword = Callable[[Any, Any, Any, Any], Iterator[SchemaFault]]
_MAX_ALTERNATIVES = 10_000
_LISTED = 10  # names or indexes in one message


class ReportEnded(Exception):
    """The allowance of a report is used up."""


class _Text(threading.local):
    left = 0
    alternatives = 0


_time = Allowance()
_text = _Text()


def start_report() -> None:
    """Give the report that this thread begins its allowance."""
    allowed = limits()
    _time.start(allowed.report_time, allowed.report_time)
    _text.left, _text.alternatives = allowed.pattern_text, _MAX_ALTERNATIVES


def take_step() -> None:
    """Raise ReportEnded if the time of the report is over."""
    if _time.is_over():
        raise ReportEnded


def _matches(pattern: str, text: str) -> bool:
    """Return whether a text matches. Raises ReportEnded if patterns have been matched with too much text."""
    take_step()
    _text.left -= len(text)
    if _text.left < 0:
        raise ReportEnded
    return linear_pattern(pattern).matches(text)


def _pattern(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
    if type(instance) is not str:
        return
    most = schema.get("maxLength") if isinstance(schema, dict) else None
    if most is not None and len(instance) > most:
        return  # that is a fault already
    if not _matches(expected, instance):
        yield SchemaFault("pattern")


@lru_cache(maxsize=1024)
def _keyword_validator(keyword: str, expected: str | float) -> Callable[[Any], bool]:
    return jsonschema_rs.Draft202012Validator({keyword: expected}, offline=True).is_valid


def _by_jsonschema_rs(keyword: str) -> Keyword:
    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
        if not _keyword_validator(keyword, expected)(instance):
            yield SchemaFault(keyword)

    return check


def _limited(validate: Keyword) -> Keyword:
    """Return the keyword `anyOf` or `oneOf` with a bound: alternatives inside alternatives double at each level."""

    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
        _text.alternatives -= 1
        if _text.alternatives < 0:
            raise ReportEnded
        yield from validate(validator, expected, instance, schema) or ()

    return check


def _pattern_properties(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
    if type(instance) is dict:
        for pattern, part in expected.items():
            for name, value in instance.items():
                if _matches(pattern, name):
                    yield from validator.descend(value, part, path=name, schema_path=pattern)


def unknown_names(instance: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Yield the names of members that neither `properties` nor `patternProperties` covers."""
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in instance:
        if type(name) is str and name not in known and not any(_matches(pattern, name) for pattern in patterns):
            yield name


def _additional_properties(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
    if type(instance) is not dict:
        return
    if expected is False:
        if next(unknown_names(instance, schema), None) is not None:
            yield SchemaFault("additionalProperties")
        return
    for name in unknown_names(instance, schema):
        take_step()
        yield from validator.descend(instance[name], expected, path=name)


def _property_names(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
    if type(instance) is dict:
        for name in instance:
            take_step()
            yield from validator.descend(name, expected)


def _items(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
    if type(instance) is not list:
        return
    first = len(schema.get("prefixItems", ()))
    if expected is False:
        if len(instance) > first:
            yield SchemaFault("items")
        return
    for index in range(first, len(instance)):
        take_step()
        yield from validator.descend(instance[index], expected, path=index)


def _unevaluated(keyword: str, kind: type, find: Callable[[Any, Any, Any], set[Any]]) -> Keyword:
    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
        is_kind: bool = type(instance) is kind
        if not is_kind:
            return
        rest = {key: value for key, value in schema.items() if key != keyword}
        evaluated = find(validator, instance, rest)
        keys = instance if kind is dict else range(len(instance))
        wrong: list[Any] = []
        for key in keys:
            if key not in evaluated:
                take_step()
                if not _fits(validator, instance[key], expected):
                    wrong.append(key if kind is dict else instance[key])
                    if len(wrong) > _LISTED:
                        break
        if wrong:
            noun = "properties" if kind is dict else "items"
            listed = ", ".join(shorten(one) for one in wrong[:_LISTED])
            more = ", ..." if len(wrong) > _LISTED else ""
            verb = "was" if len(wrong) == 1 else "were"
            yield SchemaFault(f"Unevaluated {noun} are not allowed ({listed}{more} {verb} unexpected)")

    return check


def _fits(validator: Any, instance: Any, schema: Any) -> bool:
    return next(validator.descend(instance, schema), None) is None


def _applied(validator: Any, instance: Any, schema: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield (validator, schema) for each schema that a schema applies to the same value and that accepts it."""
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in schema:
            found = validator._resolver.lookup(schema[keyword])
            yield validator.evolve(schema=found.contents, _resolver=found.resolver), found.contents
    for keyword in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(keyword, ()):
            if _fits(validator, instance, part):
                yield validator, part
    if "if" in schema:
        if _fits(validator, instance, schema["if"]):
            yield validator, schema["if"]
            yield validator, schema.get("then", True)
        else:
            yield validator, schema.get("else", True)
    if type(instance) is dict:
        for name, part in schema.get("dependentSchemas", {}).items():
            if name in instance:
                yield validator, part


def _all_applied(validator: Any, instance: Any, schema: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield (validator, schema) for a schema and all that it applies to the same value, each schema once."""
    pending, seen = [(validator, schema)], {id(schema)}
    while pending:
        take_step()
        current, part = pending.pop()
        if not isinstance(part, dict):
            continue
        yield current, part
        for inner in _applied(current, instance, part):
            if id(inner[1]) not in seen:
                seen.add(id(inner[1]))
                pending.append(inner)


def _evaluated_names(validator: Any, instance: dict[str, Any], schema: Any) -> set[Any]:
    found: set[Any] = set()
    for current, part in _all_applied(validator, instance, schema):
        found.update(part.get("properties", {}).keys() & instance.keys())
        for name in instance if "patternProperties" in part else ():
            if any(_matches(pattern, name) for pattern in part["patternProperties"]):
                found.add(name)
        if "additionalProperties" in part or "unevaluatedProperties" in part:
            rest = part.get("additionalProperties", part.get("unevaluatedProperties"))
            found.update(name for name in unknown_names(instance, part) if _fits(current, instance[name], rest))
    return found


def _evaluated_indexes(validator: Any, instance: list[Any], schema: Any) -> set[Any]:
    found: set[Any] = set()
    for current, part in _all_applied(validator, instance, schema):
        if "items" in part or "unevaluatedItems" in part:
            return set(range(len(instance)))
        found.update(range(len(part.get("prefixItems", ()))))
        if "contains" in part:
            found.update(index for index, item in enumerate(instance) if _fits(current, item, part["contains"]))
    return found


def _stepping(validate: Keyword) -> Keyword:
    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
        take_step()
        return validate(validator, expected, instance, schema) or iter(())

    return check


_VALIDATORS: dict[str, Keyword] = {
    **Draft202012Validator.VALIDATORS,
    **{keyword: _by_jsonschema_rs(keyword) for keyword in ("multipleOf", "uniqueItems")},
    **{keyword: _limited(Draft202012Validator.VALIDATORS[keyword]) for keyword in ("anyOf", "oneOf")},
    "additionalProperties": _additional_properties,
    "items": _items,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "propertyNames": _property_names,
    "unevaluatedItems": _unevaluated("unevaluatedItems", list, _evaluated_indexes),
    "unevaluatedProperties": _unevaluated("unevaluatedProperties", dict, _evaluated_names),
}
#: Keyword -> its validator, for `jsonschema.validators.extend`.
KEYWORDS: dict[str, Keyword] = {keyword: _stepping(validate) for keyword, validate in _VALIDATORS.items()}
