"""Validator: a compiled JSON Schema, with a fast test of a value and a complete list of its faults.

jsonschema-rs makes the test. It is offline: no reference is ever fetched. The jsonschema library makes the list; it is
loaded when the first value is rejected. Regular expressions run in linear time in both; see `bounds.patterns`.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Callable
from typing import Any

import jsonschema_rs

from ..errors import ConfigError, Fault
from ..errors.failure import function_error, is_raised_by_signal
from ..errors.fault import limit_faults
from .bounds.expansion import require_bounded
from .bounds.limits import limits
from .bounds.patterns import PatternPlan, plan_patterns
from .formats import BUILTIN_FORMATS, FORMATS
from .jsondata import copy_json, is_json, json_faults
from .strictness import check_all_strings, is_scalar, is_strict

__all__ = ["Validator", "is_json"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_RS_FORMATS: dict[str, Callable[..., bool]] = {**FORMATS, **dict.fromkeys(BUILTIN_FORMATS, lambda value: True)}
_NO_FORMATS: dict[str, Callable[..., bool]] = dict.fromkeys(_RS_FORMATS, lambda value: True)


class Validator:
    """A compiled JSON Schema 2020-12.

    Args:
        schema: JSON Schema as a dict; do not change it afterwards.
        formats: whether the formats of `portal.schema.formats` are validated.

    Attributes:
        schema: the JSON Schema.
        accepts: value -> whether it is JSON data that fits the schema. Never raises, whatever the value.
        fits: JSON data -> whether it fits the schema. Cheaper than `accepts`; for what JSON text has just given.
        strict: whether the compiled schema alone decides, without a walk over the value.

    Raises:
        ConfigError: the schema is not a JSON Schema 2020-12, has a reference that leads out of it, has a pattern
            that cannot run in linear time, or causes too much work; see `ValidationLimits`.

    Threads: immutable; any thread may use it.
    """

    __slots__ = ("_find_faults", "accepts", "fits", "formats", "schema", "strict")

    def __init__(self, schema: dict[str, Any], *, formats: bool = True) -> None:
        self.schema = schema
        self.formats = formats
        _require_dialect(schema)
        require_bounded(schema)
        plan = plan_patterns(schema)
        compiled = _compile(plan, plan.schema, formats)
        self._find_faults: Callable[[Any], list[Fault]] | None = None
        self.strict = is_strict(schema)
        if self.strict and not is_scalar(schema):
            compiled = _compile(plan, check_all_strings(plan.schema), formats)
        make_test = _strict_test if self.strict else _walking_test
        self.accepts: Callable[[Any], bool] = plan.guard(make_test(compiled.is_valid))
        self.fits: Callable[[Any], bool] = plan.guard(_schema_test(compiled.is_valid))

    def faults(self, value: Any) -> list[Fault]:
        """Return the faults of the value with their paths; the list is empty exactly if `accepts` is true.

        Of more than `MAX_FAULTS` it has the first, and one that says so.
        """
        if self.accepts(value):
            return []
        found = json_faults(value)
        if found and (found[0].rule == "depth" or found[-1].rule == "faults"):
            return limit_faults(found, limits().report_text)
        seen = {fault.path for fault in found}
        data = copy_json(value) if found else value  # pure JSON data is not copied: that takes long if it is large
        found += [fault for fault in self._schema_faults(data) if fault.path not in seen]
        if not found:
            found.append(Fault("", "does not fit the schema", "schema"))
        return limit_faults(found, limits().report_text)

    def _schema_faults(self, value: Any) -> list[Fault]:
        if self._find_faults is None:
            from .fault_finder import fault_finder

            self._find_faults = fault_finder(self.schema, self.formats)
        try:
            return self._find_faults(value)
        except Exception as error:  # jsonschema may raise anything for names that are not strings; see `json_faults`
            _require_no_signal(error)
            return []


def _strict_test(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        try:
            if not is_valid(value):
                return False
            # jsonschema-rs accepts a Decimal or an Enum as the number that it holds, and subclasses of dict and list.
            # marshal raises for all of these. It writes other values that are not JSON data, but is_valid has rejected
            # those. This is the fastest test of exact types at any depth.
            marshal.dumps(value, 2)
            return True
        except Exception as error:  # jsonschema-rs raises several classes for a value that is not JSON data
            _require_no_signal(error)
            return False

    return accepts


def _walking_test(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        try:
            return is_json(value) and is_valid(value)
        except Exception as error:  # as in _strict_test
            _require_no_signal(error)
            return False

    return accepts


def _schema_test(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            return is_valid(value)
        except Exception as error:  # as in _strict_test
            _require_no_signal(error)
            return False

    return fits


def _require_no_signal(error: Exception) -> None:
    """Raise FunctionError for what the handler of a signal raised; the data may be valid."""
    if is_raised_by_signal(error):
        raise function_error(error) from error


def _require_dialect(schema: dict[str, Any]) -> None:
    if not is_json(schema):
        fault = json_faults(schema)[0]
        raise ConfigError(f"the JSON Schema {fault.message} (at {fault.path or 'its root'})", path=fault.path)
    dialect = schema.get("$schema", _DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != _DIALECT:
        raise ConfigError.invalid("/$schema", dialect, f"{_DIALECT!r} or absent")


def _compile(plan: PatternPlan, schema: dict[str, Any], formats: bool) -> jsonschema_rs.Draft202012Validator:
    try:
        return jsonschema_rs.Draft202012Validator(
            schema,
            validate_formats=True,
            formats={**(_RS_FORMATS if formats else _NO_FORMATS), **plan.formats},
            offline=True,
            pattern_options=plan.options,
            keywords=plan.keywords or None,
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise ConfigError(_reason(error), expected="a JSON Schema 2020-12 that refers only to itself") from error


def _reason(error: Exception) -> str:
    text = str(getattr(error, "message", error))
    missing = re.match(r"Resource '([^']*)' is not present", text)
    if missing:
        return f"the JSON Schema refers to {missing.group(1)}; references to other documents are never fetched"
    return f"not a valid JSON Schema 2020-12: {text}"[:300]
