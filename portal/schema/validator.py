"""A JSON Schema made ready: a fast accept check, and an exact report for what it refuses.

The accept check is jsonschema-rs, offline: no reference is ever fetched. The report is made by the jsonschema library,
which is loaded when the first value is refused.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Callable
from typing import Any

import jsonschema_rs

from ..errors import ConfigError, Fault
from .formats import BUILTIN_FORMATS, FORMATS
from .jsondata import copy_json, is_json, json_faults, limit_faults
from .strictness import check_all_strings, is_scalar, is_strict

__all__ = ["Compiled", "is_json"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_RS_FORMATS: dict[str, Callable[..., bool]] = {**FORMATS, **dict.fromkeys(BUILTIN_FORMATS, lambda value: True)}


class Compiled:
    """A compiled JSON Schema 2020-12.

    Attributes:
        schema: the JSON Schema.
        accepts: value -> whether it is JSON data that fits. Never raises, whatever the value.
        closed: whether the compiled check alone decides, without a walk over the value.

    Args:
        schema: JSON Schema as a dict; not to be changed afterwards.
        formats: whether the formats of `portal.schema.formats` are asserted.

    Raises:
        ConfigError: for what is no JSON Schema 2020-12, and for a reference that leads out of it.

    Threads: immutable; any thread may use it.
    """

    __slots__ = ("_report", "accepts", "closed", "formats", "schema")

    def __init__(self, schema: dict[str, Any], *, formats: bool = True) -> None:
        self.schema = schema
        self.formats = formats
        fits = _compile(schema, formats)
        self._report: Callable[[Any], list[Fault]] | None = None
        self.closed = is_strict(schema)
        if self.closed and not is_scalar(schema):
            fits = _compile(check_all_strings(schema), formats)
        self.accepts: Callable[[Any], bool] = _accepts(fits.is_valid, self.closed)

    def faults(self, value: Any) -> list[Fault]:
        """The faults of the value, with their paths; empty exactly where `accepts` is True.

        Every one, up to `MAX_FAULTS`.
        """
        if self.accepts(value):
            return []
        found = json_faults(value)
        if found and found[0].rule == "depth":
            return found
        seen = {fault.path for fault in found}
        data = copy_json(value) if found else value  # pure JSON data as it is: a large one takes long to copy
        found += [fault for fault in self._schema_faults(data) if fault.path not in seen]
        if not found:
            found.append(Fault("", "does not fit the schema", "schema"))
        return limit_faults(found)

    def _schema_faults(self, value: Any) -> list[Fault]:
        if self._report is None:
            from .errors import reporter

            self._report = reporter(self.schema, self.formats)
        try:
            return self._report(value)
        except Exception:  # jsonschema raises anything for names that are no text; the JSON faults name those
            return []


def _accepts(is_valid: Callable[[Any], bool], closed: bool) -> Callable[[Any], bool]:
    def accepts_closed(value: Any) -> bool:
        try:
            if not is_valid(value):
                return False
            # jsonschema-rs takes a Decimal or an Enum for the number that it holds, and subclasses of dict and list.
            # marshal writes none of these, and what else it writes that is no JSON has been refused: the fastest test
            # there is of exact types at any depth.
            marshal.dumps(value, 2)
            return True
        except Exception:  # jsonschema-rs raises several classes for what is no JSON data
            return False

    def accepts_open(value: Any) -> bool:
        try:
            return is_json(value) and is_valid(value)
        except Exception:  # as above
            return False

    return accepts_closed if closed else accepts_open


def _compile(schema: dict[str, Any], formats: bool) -> jsonschema_rs.Draft202012Validator:
    if not is_json(schema):
        fault = json_faults(schema)[0]
        raise ConfigError(f"the JSON Schema {fault.message} (at {fault.path or 'its root'})", path=fault.path)
    dialect = schema.get("$schema", _DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != _DIALECT:
        raise ConfigError(f"$schema is {dialect!r}", path="/$schema", expected=_DIALECT)
    try:
        return jsonschema_rs.Draft202012Validator(
            schema, validate_formats=formats, formats=_RS_FORMATS if formats else None, offline=True
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise ConfigError(_why(error), expected="a JSON Schema 2020-12 that refers only to itself") from error


def _why(error: Exception) -> str:
    text = str(getattr(error, "message", error))
    missing = re.match(r"Resource '([^']*)' is not present", text)
    if missing:
        return f"the JSON Schema refers to {missing.group(1)}, and references are never fetched"
    return f"not a valid JSON Schema 2020-12: {text}"[:300]
