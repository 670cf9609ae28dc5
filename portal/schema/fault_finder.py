"""List what is wrong with a value, by the jsonschema library.

`bounds.keywords` replaces the keywords whose work has no bound, and those in which jsonschema differs from the compiled
validator. A list has bounds of time, text and number; see `ValidationLimits`. It then says that it is not complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import extend
from referencing.jsonschema import EMPTY_REGISTRY, SchemaRegistry

from ..errors import Fault
from ..errors.fault import MAX_FAULTS
from .bounds.keywords import KEYWORDS, ReportEnded, start_report, unknown_names
from .bounds.limits import counters, limits
from .formats import EXAMPLES, FORMATS, lacks_time_zone
from .jsondata import SCALAR_TYPES, pointer, shorten
from .nearest import TYPE_WORDS, form_words, nearest_form
from .subschemas import APPLICATORS

__all__ = ["fault_finder"]

_extend: Any = extend
#: Keywords whose value is too large to be quoted as `Fault.expected`.
_NOT_QUOTED = APPLICATORS | {"$ref"}
_MAX_MESSAGE = 400  # characters
_JSON_TYPES: dict[type, str] = {**SCALAR_TYPES, dict: "object", list: "array"}
#: Keyword -> message.
_MESSAGES = {
    "const": "must be {expected}, got {value}",
    "enum": "must be one of {expected}, got {value}",
    "exclusiveMaximum": "must be less than {expected}, got {value}",
    "exclusiveMinimum": "must be greater than {expected}, got {value}",
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


_Validator: Any = _extend(Draft202012Validator, KEYWORDS)


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

    It lists all of them, or those that it finds within the limits, and one with the rule "faults" that says so.

    Args:
        schema: a valid JSON Schema.
        formats: whether formats are validated.

    Threads: any thread may call the function.
    """
    validator = _Validator(schema, registry=_registry(), format_checker=_format_checker() if formats else None)

    def find(value: Any) -> list[Fault]:
        found: dict[tuple[str, str, str], Fault] = {}
        length = limits().report_text
        start_report()
        try:
            for fault in chain.from_iterable(map(_faults, validator.iter_errors(value))):
                found.setdefault((fault.path, fault.rule, fault.message), fault)
                if len(found) > MAX_FAULTS or length < 0:
                    break  # with one more than are listed, so that the list says that there are more
                length -= fault.length
        except ReportEnded:
            counters.reports.add()
            found[("", "faults", "")] = Fault("", "the list of faults was ended; there may be more", "faults")
        return sorted(found.values(), key=lambda fault: (fault.rule == "faults", fault.path))

    return find


def _faults(error: Any) -> Iterator[Fault]:
    """Yield the faults that one error of jsonschema stands for."""
    rule = str(error.validator)
    path = list(error.absolute_path)
    if rule == "required":
        # jsonschema makes one error for each missing name, and gives the name only in its message
        for name in error.validator_value:
            if name not in error.instance:
                yield Fault(
                    pointer([*path, name]),
                    f"{shorten(name, _MAX_MESSAGE)} is required",
                    rule,
                    list(error.validator_value),
                    "",
                )
    elif rule == "additionalProperties" and error.validator_value is False:
        for name in unknown_names(error.instance, error.schema):
            value = shorten(error.instance[name])
            yield Fault(pointer([*path, name]), f"{shorten(name, _MAX_MESSAGE)} is unknown", rule, False, value)
    elif rule in ("anyOf", "oneOf") and error.context:
        yield from _alternative_faults(error)
    elif rule == "None":  # the schema is `false`
        value = shorten(error.instance)
        yield Fault(pointer(path), f"no value is allowed here, got {value}", "false", None, value)
    else:
        expected = None if rule in _NOT_QUOTED else error.validator_value
        yield Fault(pointer(path), _message(error, rule), rule, expected, shorten(error.instance))


def _alternative_faults(error: Any) -> Iterator[Fault]:
    """Yield the faults of `anyOf` or `oneOf`: which alternatives there are, and the faults of the nearest one."""
    nearest = nearest_form(error)
    if nearest is None or not nearest.is_certain:
        found = f", got {_kind_words(error.instance)}" if nearest is None else f"; the nearest is {nearest.name}"
        message = f"must be {form_words(error.validator_value)}{found}"
        path = pointer(error.absolute_path)
        yield Fault(path, message[:_MAX_MESSAGE], str(error.validator), None, shorten(error.instance))
    for part in () if nearest is None else nearest.errors:
        yield from _faults(part)


def _kind_words(value: Any) -> str:
    kind = _JSON_TYPES.get(type(value), type(value).__name__)
    if kind in ("object", "array"):
        return TYPE_WORDS[kind]
    return shorten(value)


def _type_words(kind: str, schema: Any) -> str:
    """Return the words for a JSON type; for text with a format, an example: a decimal or a date is text in JSON."""
    example = EXAMPLES.get(schema.get("format", "")) if kind == "string" and isinstance(schema, dict) else None
    return TYPE_WORDS[kind] if example is None else f"{TYPE_WORDS[kind]} such as {example!r}"


def _message(error: Any, rule: str) -> str:
    expected, value = error.validator_value, error.instance
    if rule == "type":
        kinds = [expected] if isinstance(expected, str) else expected
        kind = _JSON_TYPES.get(type(value), type(value).__name__)
        words = " or ".join(_type_words(one, error.schema) for one in kinds)
        return f"must be {words}, got {TYPE_WORDS.get(kind, kind)}"
    if rule == "format" and expected == "date-time" and lacks_time_zone(value):
        return f"must have a time zone, as in 2026-01-31T09:00:00Z, got {shorten(value)}"
    if rule == "format":
        example = f", such as {EXAMPLES[expected]}" if expected in EXAMPLES else ""
        return f"must have the format {shorten(expected, 160)}{example}, got {shorten(value)}"
    if rule in _MESSAGES:
        return _MESSAGES[rule].format(expected=shorten(expected, 160), value=shorten(value))
    if rule in _LENGTHS:
        words, noun = _LENGTHS[rule]
        return f"must have {words} {expected} {noun}{'' if expected == 1 else 's'}, got {len(value)}"
    if rule == "items" and expected is False:
        return f"must have at most {len(error.schema.get('prefixItems', ()))} items, got {len(value)}"
    return str(error.message) if len(error.message) <= 200 else f"must satisfy the keyword {rule!r} of the schema"
