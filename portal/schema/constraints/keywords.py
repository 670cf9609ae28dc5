"""Apply the constraints of `Annotated[...]` to a codec: keywords of its JSON Schema, and checks of native values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ..codecs import Codec
from ..jsondata import is_json
from .checks import TEXTUAL, Check, checked, length_check, limit_check, number_limit, predicate_check, special_check
from .rules import LENGTHS, LIMITS, Rule, rejected, rules_of

__all__ = ["constrain"]

_NUMBER_KEYWORDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
}
_LENGTH_KEYWORDS = {
    "min_length": {"string": "minLength", "array": "minItems", "object": "minProperties"},
    "max_length": {"string": "maxLength", "array": "maxItems", "object": "maxProperties"},
}
_ANNOTATIONS = frozenset(("title", "description", "deprecated", "x-header", "x-body"))
#: Keywords that require nothing of a value.
_SAID = frozenset(("title", "description", "deprecated", "examples"))
#: Annotations of the whole value; a class has a title that they replace.
_REPLACED = frozenset(("title", "description"))


def constrain(codec: Codec, annotations: tuple[Any, ...], hint_name: str) -> Codec:
    """Return a codec with the constraints among some annotations; annotations with another purpose are ignored.

    A rule that JSON Schema cannot express adds a check, and a keyword that begins with "x-". The keyword tells readers
    of the schema, and makes another schema of it.

    Args:
        codec: the codec.
        annotations: the arguments of Annotated after the first.
        hint_name: the constrained hint, for messages.

    Raises:
        ConfigError: a constraint does not apply to the type of the values, or cannot be kept.
    """
    constraints = _Constraints(codec, hint_name)
    for annotation in annotations:
        for rule in rules_of(annotation, hint_name):
            constraints.add(rule)
    made = checked(codec, constraints.checks)
    structure = made.structure if _SAID.issuperset(constraints.added) else None
    return dataclasses.replace(made, json={**codec.json, **constraints.added}, structure=structure)


class _Constraints:
    """The keywords and checks that constraints add to one codec."""

    def __init__(self, codec: Codec, hint_name: str) -> None:
        self.added: dict[str, Any] = {}
        self.checks: list[Check] = []
        self._codec = codec
        self._hint_name = hint_name
        self._types = _json_types(codec.json)
        self._kinds = codec.native_types

    def add(self, rule: Rule) -> None:
        """Add a rule. Raises ConfigError if it does not apply to the values."""
        if rule.name in _ANNOTATIONS:
            self._add_keyword(rule.name, rule.value)
        elif rule.name == "examples":
            self.added.setdefault("examples", []).extend(map(self._example, rule.value))
        elif rule.name in LIMITS:
            self._require_applicable(list(self._limits(rule)), rule)
        elif rule.name in LENGTHS:
            if type(rule.value) is not int or rule.value < 0:
                raise rejected(rule.source, self._hint_name, "a length must be an int of 0 or more")
            self._require_applicable(list(self._lengths(rule)), rule)
        elif rule.name == "pattern":
            # of a Decimal or a date it is the pattern of its text; base64 says nothing about bytes
            self._require_applicable("string" in self._types and bytes not in self._kinds, rule)
            self._add_keyword("pattern", rule.value)
        elif rule.name == "unique":
            self._require_applicable("array" in self._types, rule)
            self._add_keyword("uniqueItems", True)
        elif rule.name == "predicate":
            if not callable(rule.value):
                raise rejected(rule.source, self._hint_name, "a predicate must be callable")
            name = getattr(rule.value, "__qualname__", type(rule.value).__qualname__)
            self._add_check("x-predicate", predicate_check(rule.value, name), name)
        else:
            check = special_check(rule, self._kinds, self._hint_name)
            self._add_check(f"x-{rule.name.replace('_', '-')}", check, rule.value if is_json(rule.value) else True)

    def _limits(self, rule: Rule) -> Iterator[bool]:
        """Add a limit for each class of values that has one, and yield for each."""
        if self._types & {"number", "integer"}:
            self._add_keyword(_NUMBER_KEYWORDS[rule.name], number_limit(rule, self._hint_name))
            yield True
        for kind in self._kinds:
            found = limit_check(kind, rule, self._hint_name)
            if found is not None:
                self._add_check(f"x-{_NUMBER_KEYWORDS[rule.name]}", *found)
                yield True

    def _lengths(self, rule: Rule) -> Iterator[bool]:
        """Add a length for each type of values that has one, and yield for each."""
        by_type = _LENGTH_KEYWORDS[rule.name]
        for kind in sorted(self._types & by_type.keys()):
            if kind != "string" or self._has_text(rule):
                self._add_keyword(by_type[kind], rule.value)
                yield True
        if bytes in self._kinds:
            if "x-file" not in self._codec.json:  # of a file, JSON may have a token
                self._add_keyword(by_type["string"], 4 * -(-rule.value // 3))  # base64 has 4 characters for 3 bytes
            self._add_check(f"x-{rule.name.replace('_', '-')}", length_check(rule), rule.value)
            yield True

    def _has_text(self, rule: Rule) -> bool:
        """Return whether the values may be text in Python too, and not only in JSON as a date is.

        Raises: ConfigError if there are values of both kinds, which one keyword cannot tell apart.
        """
        if "string" not in self._types or not {str, object} & set(self._kinds):
            return False
        if TEXTUAL & set(self._kinds):
            raise rejected(rule.source, self._hint_name, "put it on the member of the union that it is for")
        return True

    def _example(self, value: Any) -> Any:
        if is_json(value) or self._codec.encode is None:
            return value
        return self._codec.encode(value)

    def _add_check(self, keyword: str, check: Check, value: Any) -> None:
        self.checks.append(check)
        self._add_keyword(keyword, value)

    def _add_keyword(self, keyword: str, value: Any) -> None:
        if keyword in self.added or (keyword in self._codec.json and keyword not in _REPLACED):
            self.added.setdefault("allOf", []).append({keyword: value})
        else:
            self.added[keyword] = value

    def _require_applicable(self, found: object, rule: Rule) -> None:
        if not found:
            raise rejected(rule.source, self._hint_name, "it does not apply to values of this type")


def _json_types(json: dict[str, Any]) -> set[str]:
    stated = json.get("type")
    if stated is not None:
        return {stated} if isinstance(stated, str) else set(stated)
    found: set[str] = set()
    for part in (*json.get("anyOf", ()), *json.get("allOf", ())):
        found |= _json_types(part)
    return found or {"string", "array", "object", "number"}
