"""List what is wrong with a value, by the jsonschema library.

jsonschema differs from jsonschema-rs in regular expressions (Python's instead of ECMA-262's) and in `multipleOf` of
fractions. jsonschema-rs validates both keywords here, so that this list and the compiled validator agree. It validates
`uniqueItems` as well: jsonschema compares each item with each if they cannot be sorted.
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
from ..errors.fault import MAX_FAULTS
from .formats import FORMATS
from .jsondata import SCALAR_TYPES, pointer, shorten
from .subschemas import APPLICATORS

__all__ = ["fault_finder"]

_extend: Any = extend
#: Keywords whose value is too large to be quoted as `Fault.expected`.
_NOT_QUOTED = APPLICATORS | {"$ref"}
_MAX_ALTERNATIVES = 10_000
_JSON_TYPES: dict[type, str] = {**SCALAR_TYPES, dict: "object", list: "array"}
_TYPE_WORDS = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "null": "null",
}
#: Keyword -> message.
_MESSAGES = {
    "const": "must be {expected}, got {value}",
    "enum": "must be one of {expected}, got {value}",
    "exclusiveMaximum": "must be less than {expected}, got {value}",
    "exclusiveMinimum": "must be greater than {expected}, got {value}",
    "format": "must have the format {expected}, got {value}",
    "maximum": "must be at most {expected}, got {value}",
    "minimum": "must be at least {expected}, got {value}",
    "multipleOf": "must be a multiple of {expected}, got {value}",
    "pattern": "must match {expected}, got {value}",
    "uniqueItems": "must not have equal items",
}
#: Keyword -> (words before the limit, noun after it); the message ends with the length of the value.
_LENGTHS = {
    "maxItems": ("at most", "item"),
    "maxLength": ("at most", "character"),
    "maxProperties": ("at most", "member"),
    "minItems": ("at least", "item"),
    "minLength": ("at least", "character"),
    "minProperties": ("at least", "member"),
}


@lru_cache(maxsize=1024)
def _keyword_validator(keyword: str, expected: str | float) -> Callable[[Any], bool]:
    return jsonschema_rs.Draft202012Validator({keyword: expected}, offline=True).is_valid


class _AlternativesLeft(threading.local):
    """How many more times this thread may look at alternatives (`anyOf`, `oneOf`) in the current search.

    Each level of a value under alternatives inside alternatives doubles the work; 25 levels would take hours.
    """

    count = 0


_alternatives_left = _AlternativesLeft()


def _limited(keyword: str) -> Callable[[Any, Any, Any, Any], Iterator[SchemaFault]]:
    """Return the validator of `anyOf` or `oneOf` that raises when the thread has no more looks left."""
    validate = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
        _alternatives_left.count -= 1
        if _alternatives_left.count < 0:
            raise RecursionError("too many alternatives to list their faults")
        return validate(validator, expected, instance, schema) or iter(())

    return check


def _by_jsonschema_rs(keyword: str) -> Callable[[Any, Any, Any, Any], Iterator[SchemaFault]]:
    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[SchemaFault]:
        if not _keyword_validator(keyword, expected)(instance):
            yield SchemaFault(keyword)

    return check


_Validator: Any = _extend(
    Draft202012Validator,
    {
        **{keyword: _by_jsonschema_rs(keyword) for keyword in ("pattern", "multipleOf", "uniqueItems")},
        **{keyword: _limited(keyword) for keyword in ("anyOf", "oneOf")},
    },
)


@lru_cache(maxsize=1)
def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, has_format in FORMATS.items():
        checker.checkers = {**checker.checkers, name: (has_format, ())}
    return checker


def _registry() -> SchemaRegistry:
    """Return a registry of the metaschemas alone; they are part of the specification, and jsonschema contains them."""
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    return EMPTY_REGISTRY.combine(REGISTRY)


def fault_finder(schema: dict[str, Any], formats: bool) -> Callable[[Any], list[Fault]]:
    """Return a function that lists the faults of a value under a schema, sorted by path.

    It lists all of them, or `MAX_FAULTS` and one. It raises RecursionError if it would have to look at alternatives
    too often.

    Args:
        schema: a valid JSON Schema.
        formats: whether formats are validated.

    Threads: any thread may call the function.
    """
    validator = _Validator(schema, registry=_registry(), format_checker=_format_checker() if formats else None)

    def find(value: Any) -> list[Fault]:
        found: dict[tuple[str, str, str], Fault] = {}
        _alternatives_left.count = _MAX_ALTERNATIVES
        for fault in chain.from_iterable(map(_faults, validator.iter_errors(value))):
            found.setdefault((fault.path, fault.rule, fault.message), fault)
            if len(found) > MAX_FAULTS:
                break
        return sorted(found.values(), key=lambda fault: fault.path)

    return find


def _faults(error: Any) -> Iterator[Fault]:
    """Yield the faults that one error of jsonschema stands for."""
    rule = str(error.validator)
    path = list(error.absolute_path)
    if rule == "required":
        # jsonschema makes one error for each missing name, and gives the name only in its message
        for name in error.validator_value:
            if name not in error.instance:
                yield Fault(pointer([*path, name]), f"{name!r} is required", rule, list(error.validator_value), "")
    elif rule == "additionalProperties" and error.validator_value is False:
        for name in _unknown_names(error):
            value = shorten(error.instance[name])
            yield Fault(pointer([*path, name]), f"{name!r} is unknown", rule, False, value)
    elif rule in ("anyOf", "oneOf") and (inner := _errors_of_likely_branch(error)):
        for part in inner:
            yield from _faults(part)
    elif rule == "None":  # the schema is `false`
        value = shorten(error.instance)
        yield Fault(pointer(path), f"no value is allowed here, got {value}", "false", None, value)
    else:
        expected = None if rule in _NOT_QUOTED else error.validator_value
        yield Fault(pointer(path), _message(error, rule), rule, expected, shorten(error.instance))


def _unknown_names(error: Any) -> list[str]:
    known = error.schema.get("properties", {})
    patterns = [_keyword_validator("pattern", text) for text in error.schema.get("patternProperties", {})]
    return [
        name
        for name in error.instance
        if isinstance(name, str) and name not in known and not any(matches(name) for matches in patterns)
    ]


def _errors_of_likely_branch(error: Any) -> list[Any] | None:
    """Return the errors of the branch that accepts the type of the value, if exactly one branch does."""
    branches: dict[int, list[Any]] = {}
    for part in error.context:
        if part.relative_schema_path:  # the error of a branch that is `false` has no path
            branches.setdefault(part.relative_schema_path[0], []).append(part)
    likely = [
        parts
        for parts in branches.values()
        if not any(part.validator in ("type", "const", "enum") and not part.relative_path for part in parts)
    ]
    return likely[0] if len(likely) == 1 else None


def _message(error: Any, rule: str) -> str:
    expected, value = error.validator_value, error.instance
    if rule == "type":
        kinds = [expected] if isinstance(expected, str) else expected
        kind = _JSON_TYPES.get(type(value), type(value).__name__)
        return f"must be {' or '.join(_TYPE_WORDS[kind] for kind in kinds)}, got {_TYPE_WORDS.get(kind, kind)}"
    if rule in _MESSAGES:
        return _MESSAGES[rule].format(expected=shorten(expected, 160), value=shorten(value))
    if rule in _LENGTHS:
        words, noun = _LENGTHS[rule]
        return f"must have {words} {expected} {noun}{'' if expected == 1 else 's'}, got {len(value)}"
    if rule == "items" and expected is False:
        return f"must have at most {len(error.schema.get('prefixItems', ()))} items, got {len(value)}"
    if rule in ("anyOf", "oneOf") and error.context:
        return "must match one of the allowed schemas"
    return str(error.message) if len(error.message) <= 200 else f"must satisfy the keyword {rule!r} of the schema"
