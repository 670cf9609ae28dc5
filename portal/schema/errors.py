"""The exact report of what is wrong with a value, made by the jsonschema library.

jsonschema differs from jsonschema-rs in regular expressions (Python's instead of ECMA-262's) and in `multipleOf` of
fractions; both keywords are handed to jsonschema-rs here, so that report and accept check agree. So is `uniqueItems`,
for which jsonschema compares each item with each when they do not sort.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError as SchemaFault
from jsonschema.validators import extend
from referencing.jsonschema import EMPTY_REGISTRY, SchemaRegistry

from ..errors import Fault
from .formats import FORMATS
from .jsondata import MAX_FAULTS, pointer, shorten

__all__ = ["reporter"]

_extend: Any = extend
_NESTED = frozenset(
    (
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "if",
        "contains",
        "dependentSchemas",
        "unevaluatedProperties",
        "unevaluatedItems",
        "propertyNames",
        "items",
        "additionalProperties",
        "$ref",
    )
)
_VERBS = {"pattern": "does not match", "multipleOf": "is not a multiple of", "uniqueItems": "has equal items"}
_MAX_BRANCHES = 10_000
_NAMES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


@lru_cache(maxsize=1024)
def _single(keyword: str, wanted: str | float) -> Callable[[Any], bool]:
    return jsonschema_rs.Draft202012Validator({keyword: wanted}, offline=True).is_valid


class _Branches(threading.local):
    """How often this thread's report may still look at alternatives.

    Each level of a value under alternatives that hold alternatives doubles the work; 25 levels would take hours.
    """

    left = 0


_branches = _Branches()


def _bounded(keyword: str) -> Callable[[Any, Any, Any, Any], Iterator[SchemaFault]]:
    plain = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
        _branches.left -= 1
        if _branches.left < 0:
            raise RecursionError("too many alternatives to report on")
        return plain(validator, wanted, instance, schema) or iter(())

    return check


def _by_rs(keyword: str) -> Callable[[Any, Any, Any, Any], Iterator[SchemaFault]]:
    def check(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
        if not _single(keyword, wanted)(instance):
            yield SchemaFault(f"{shorten(instance)} {_VERBS[keyword]}" + ("" if wanted is True else f" {wanted!r}"))

    return check


_Validator: Any = _extend(
    Draft202012Validator,
    {
        **{keyword: _by_rs(keyword) for keyword in ("pattern", "multipleOf", "uniqueItems")},
        **{keyword: _bounded(keyword) for keyword in ("anyOf", "oneOf")},
    },
)


@lru_cache(maxsize=1)
def _checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, fits in FORMATS.items():
        checker.checkers = {**checker.checkers, name: (fits, ())}
    return checker


def _registry() -> SchemaRegistry:
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    # the metaschemas alone, which are part of the specification and carried by the package
    return EMPTY_REGISTRY.combine(REGISTRY)


def reporter(schema: dict[str, Any], formats: bool) -> Callable[[Any], list[Fault]]:
    """A function value -> the faults of it under the schema, all up to `MAX_FAULTS` and one. Thread-safe.

    It raises where `anyOf` and `oneOf` would be looked at too often.
    """
    validator = _Validator(schema, registry=_registry(), format_checker=_checker() if formats else None)

    def report(value: Any) -> list[Fault]:
        found: dict[tuple[str, str, str], Fault] = {}
        _branches.left = _MAX_BRANCHES
        for fault in chain.from_iterable(map(_faults, validator.iter_errors(value))):
            found.setdefault((fault.path, fault.rule, fault.message), fault)
            if len(found) > MAX_FAULTS:
                break
        return sorted(found.values(), key=lambda fault: fault.path)

    return report


def _faults(error: Any) -> Iterator[Fault]:
    rule = str(error.validator)
    path = list(error.absolute_path)
    if rule == "required":
        # jsonschema makes one error a missing name and says it only in the message
        for name in error.validator_value:
            if name not in error.instance:
                yield Fault(pointer([*path, name]), f"{name!r} is required", rule, list(error.validator_value), "")
    elif rule == "additionalProperties" and error.validator_value is False:
        for name in _extras(error):
            yield Fault(pointer([*path, name]), f"{name!r} is not known", rule, False, shorten(error.instance[name]))
    elif rule in ("anyOf", "oneOf") and (inner := _likely_branch(error)):
        for part in inner:
            yield from _faults(part)
    else:
        expected = None if rule in _NESTED or rule == "None" else error.validator_value
        yield Fault(
            pointer(path), _message(error, rule), "false" if rule == "None" else rule, expected, shorten(error.instance)
        )


def _extras(error: Any) -> list[str]:
    known = error.schema.get("properties", {})
    patterns = [_single("pattern", text) for text in error.schema.get("patternProperties", {})]
    return [
        name
        for name in error.instance
        if isinstance(name, str) and name not in known and not any(fits(name) for fits in patterns)
    ]


def _likely_branch(error: Any) -> list[Any] | None:
    """The errors of the one branch whose type the value has, if there is exactly one."""
    branches: dict[int, list[Any]] = {}
    for part in error.context:
        if part.relative_schema_path:  # a branch that is `false` has no path, and fits nothing
            branches.setdefault(part.relative_schema_path[0], []).append(part)
    fitting = [
        parts
        for parts in branches.values()
        if not any(part.validator in ("type", "const", "enum") and not part.relative_path for part in parts)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _message(error: Any, rule: str) -> str:
    if rule == "type":
        wanted = error.validator_value
        text = wanted if isinstance(wanted, str) else " or ".join(wanted)
        return f"must be {text}, not {_NAMES.get(type(error.instance), type(error.instance).__name__)}"
    if rule == "format":
        return f"is no {error.validator_value}"
    if rule in ("anyOf", "oneOf") and error.context:
        return "fits none of the allowed forms"
    if rule == "enum":
        return f"must be one of {shorten(error.validator_value)}"
    return str(error.message) if len(error.message) <= 200 else f"breaks the rule {rule!r}"
