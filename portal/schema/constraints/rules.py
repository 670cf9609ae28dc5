"""Rules: what the constraints in `Annotated[...]` require, whichever library they come from.

annotated-types, pydantic and msgspec are recognized by the names of their classes, and are not imported. A part of them
that Portal cannot keep is rejected. Annotations of other libraries have no meaning here and are ignored, as PEP 593
asks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...errors import ConfigError
from ..codecs.files import RawBytes
from ..transfer import Body, Header
from .classes import Description, Example, Pattern, Unique

__all__ = ["LENGTHS", "LIMITS", "Rule", "rejected", "rules_of"]

LIMITS = frozenset(("gt", "ge", "lt", "le", "multiple_of"))
LENGTHS = frozenset(("min_length", "max_length"))
_RULES = (
    LIMITS | LENGTHS | {"pattern", "max_digits", "decimal_places", "title", "description", "examples", "deprecated"}
)
_LIMIT_CLASSES = frozenset(("Gt", "Ge", "Lt", "Le", "Interval", "MultipleOf", "MinLen", "MaxLen", "Len"))
#: Libraries whose annotations are constraints.
_LIBRARIES = frozenset(("annotated_types", "msgspec", "portal", "pydantic", "pydantic_core"))
#: Option -> the values of it that say what Portal does anyway.
_AGREED: dict[str, tuple[Any, ...]] = {
    "strict": (True,),
    "allow_inf_nan": (False,),
    "coerce_numbers_to_str": (False,),
    "strip_whitespace": (False,),
    "to_upper": (False,),
    "to_lower": (False,),
    "exclude": (False,),
    "ascii_only": (False,),
    "union_mode": ("smart", "left_to_right"),
    "fail_fast": (True, False),
}
_STRING_OPTIONS = (
    *("strip_whitespace", "to_upper", "to_lower", "strict", "ascii_only"),
    *("min_length", "max_length", "pattern"),
)
#: Attributes of pydantic's FieldInfo; its constraints are in its `metadata`.
_FIELD_OPTIONS = (
    *("title", "description", "examples", "deprecated"),
    *("alias", "validation_alias", "serialization_alias", "json_schema_extra", "default_factory", "exclude"),
)
_META_OPTIONS = (
    *LIMITS,
    *LENGTHS,
    *("pattern", "title", "description", "examples", "extra_json_schema"),
)


class Rule(NamedTuple):
    """One rule that a constraint adds to a hint.

    Attributes:
        name: "ge", "min_length", "pattern", "unique", "predicate", "timezone", "uuid_version", "description" and so on.
        value: what it requires.
        source: the annotation, for messages.
    """

    name: str
    value: Any
    source: Any


def rejected(source: Any, hint_name: str, reason: str) -> ConfigError:
    """Return the error for a constraint that cannot be kept."""
    return ConfigError(f"{_text(source)} cannot constrain {hint_name}: {reason}", path=hint_name)


def rules_of(annotation: Any, hint_name: str) -> Iterator[Rule]:
    """Yield the rules of one annotation.

    Raises: ConfigError for a constraint of a known library that Portal cannot keep, and for a class of constraints in
        place of an instance.
    """
    if isinstance(annotation, type):
        if _library_of(annotation) in _LIBRARIES:
            raise rejected(annotation, hint_name, f"it is a class; write {annotation.__name__}(...)")
    elif isinstance(annotation, Description):
        yield Rule("description", annotation.text, annotation)
    elif isinstance(annotation, Example):
        yield Rule("examples", [annotation.value], annotation)
    elif isinstance(annotation, Header):
        yield Rule("x-header", annotation.name, annotation)
    elif isinstance(annotation, RawBytes):
        return
    elif isinstance(annotation, Body):
        yield Rule("x-body", "form" if annotation.forms else "json", annotation)
    elif isinstance(annotation, Pattern):
        yield from _options(annotation, {"pattern": annotation.pattern}, hint_name)
    elif isinstance(annotation, Unique):
        yield Rule("unique", True, annotation)
    elif type(annotation).__name__ in _LIMIT_CLASSES:
        yield from _options(annotation, _attributes(annotation, (*LIMITS, *LENGTHS)), hint_name)
    else:
        yield from _foreign_rules(annotation, _library_of(type(annotation)), hint_name)


def _foreign_rules(annotation: Any, library: str, hint_name: str) -> Iterator[Rule]:
    names = {kind.__name__ for kind in type(annotation).__mro__}
    if library == "msgspec" and "Meta" in names:
        yield from _options(annotation, _attributes(annotation, _META_OPTIONS), hint_name)
        if annotation.tz is not None:
            yield Rule("timezone", ... if annotation.tz else None, annotation)
    elif "FieldInfo" in names and "Representation" in names:  # of pydantic; FastAPI has subclasses
        yield from _field_rules(annotation, hint_name)
    elif library == "pydantic" and "StringConstraints" in names:
        yield from _options(annotation, _attributes(annotation, _STRING_OPTIONS), hint_name)
    elif library == "pydantic" and "UuidVersion" in names:
        yield Rule("uuid_version", annotation.uuid_version, annotation)
    elif library == "pydantic" and names & {
        "_PydanticGeneralMetadata",
        "PydanticGeneralMetadata",
        "Strict",
        "AllowInfNan",
        "FailFast",
    }:
        yield from _options(annotation, vars(annotation), hint_name)
    elif "Predicate" in names and hasattr(annotation, "func"):
        yield Rule("predicate", annotation.func, annotation)
    elif "Timezone" in names and hasattr(annotation, "tz"):
        yield Rule("timezone", annotation.tz, annotation)
    elif names & {"Doc", "DocInfo"} and hasattr(annotation, "documentation"):
        yield Rule("description", annotation.documentation, annotation)
    elif "Unit" not in names and (library in _LIBRARIES or _is_metadata(annotation)):
        raise rejected(annotation, hint_name, "Portal does not know how to apply it")


def _field_rules(field: Any, hint_name: str) -> Iterator[Rule]:
    if not field.is_required() and field.default_factory is None:
        raise rejected(field, hint_name, f"write the default after =, as in name: int = {field.default!r:.40}")
    yield from _options(field, _attributes(field, _FIELD_OPTIONS), hint_name)
    for part in field.metadata:
        yield from rules_of(part, hint_name)


def _options(annotation: Any, options: Mapping[str, Any], hint_name: str) -> Iterator[Rule]:
    for name, value in options.items():
        if value is None or (name == "min_length" and value == 0):
            continue
        if name == "pattern":
            yield Rule(name, _pattern_text(annotation, value, hint_name), annotation)
        elif name == "deprecated":
            yield Rule(name, bool(value), annotation)
        elif name in _RULES:
            yield Rule(name, value, annotation)
        elif value not in _AGREED.get(name, ()):
            raise rejected(annotation, hint_name, f"Portal does not apply {name}={value!r:.60}")


def _pattern_text(annotation: Any, pattern: Any, hint_name: str) -> Any:
    if not isinstance(pattern, re.Pattern):
        return pattern
    if pattern.flags & ~re.UNICODE or not isinstance(pattern.pattern, str):
        raise rejected(annotation, hint_name, "a regular expression must be of text and without flags")
    return pattern.pattern


def _attributes(annotation: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(annotation, name, None) for name in names}


def _library_of(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


def _is_metadata(annotation: Any) -> bool:
    """Return whether an annotation derives from a base class of annotated-types, as constraints of users do."""
    module = sys.modules.get("annotated_types")
    return module is not None and isinstance(annotation, module.BaseMetadata)


def _text(source: Any) -> str:
    return source.__qualname__ if isinstance(source, type) else f"{source!r:.160}"
