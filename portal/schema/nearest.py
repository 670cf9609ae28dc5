"""Choose the alternative of `anyOf` or `oneOf` that comes nearest to a value, and name alternatives in a message."""

from __future__ import annotations

from typing import Any

from .jsondata import shorten

__all__ = ["TYPE_WORDS", "NearestForm", "form_words", "nearest_form"]

TYPE_WORDS = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "null": "null",
}
_CHOICES = ("const", "enum")
#: Faults that a wrong choice in a member counts for: such a member, often called `kind`, tells the alternatives apart.
_WRONG_CHOICE = 1_000
_MAX_FORMS = 8
_MAX_DEPTH = 2


class NearestForm:
    """The alternative that comes nearest.

    Attributes:
        errors: what jsonschema reports about it.
        name: its name in messages.
        is_certain: whether no other alternative accepts the type of the value.
    """

    __slots__ = ("errors", "is_certain", "name")

    def __init__(self, errors: list[Any], name: str, is_certain: bool) -> None:
        self.errors = errors
        self.name = name
        self.is_certain = is_certain


def nearest_form(error: Any) -> NearestForm | None:
    """Return the nearest alternative; None if none accepts the type of the value.

    Of several alternatives it is the one whose choices fit, then the one with the fewest errors.

    Args:
        error: what jsonschema reports about `anyOf` or `oneOf`.
    """
    forms: dict[int, list[Any]] = {}
    for part in error.context:
        if part.relative_schema_path:  # the error of an alternative that is `false` has no path
            forms.setdefault(part.relative_schema_path[0], []).append(part)
    likely = {index: parts for index, parts in forms.items() if not any(map(_is_of_another_kind, parts))}
    if not likely:
        return None
    index = min(likely, key=lambda index: sum(map(_weight, likely[index])))
    return NearestForm(likely[index], _name_of(error.validator_value[index]), len(likely) == 1)


def _is_of_another_kind(error: Any) -> bool:
    return not error.relative_path and error.validator in ("type", *_CHOICES)


def _weight(error: Any) -> int:
    """Return how far an error is from a value that fits; jsonschema makes one error for each missing member."""
    return _WRONG_CHOICE if len(error.relative_path) == 1 and error.validator in _CHOICES else 1


def form_words(schemas: list[Any]) -> str:
    """Return the names of alternatives for a message, such as "Cat, Dog or null"."""
    names = list(dict.fromkeys(_name_of(schema) for schema in schemas[:_MAX_FORMS]))
    if len(schemas) > _MAX_FORMS:
        names.append(f"{len(schemas) - _MAX_FORMS} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _name_of(schema: Any, depth: int = 0) -> str:
    if not isinstance(schema, dict):
        return "nothing" if schema is False else "anything"
    if isinstance(schema.get("title"), str):
        title = shorten(schema["title"]).strip("'")
        return f"{title} (one of {shorten(schema['enum'])})" if isinstance(schema.get("enum"), list) else title
    if isinstance(schema.get("$ref"), str):
        return shorten(schema["$ref"].rpartition("/")[2]).strip("'")
    if "const" in schema:
        return shorten(schema["const"])
    if isinstance(schema.get("enum"), list):
        return f"one of {shorten(schema['enum'])}"
    kinds = schema.get("type")
    words = [TYPE_WORDS.get(kind, str(kind)) for kind in ([kinds] if isinstance(kinds, str) else kinds or ())]
    if not words:
        return "another form"
    text = " or ".join(words)
    for keyword, noun in (("items", "items"), ("additionalProperties", "members")):
        if isinstance(schema.get(keyword), dict) and depth < _MAX_DEPTH:
            return f"{text} ({noun}: {_name_of(schema[keyword], depth + 1)})"
    named = schema.get("format") or schema.get("contentEncoding")
    return f"{text} ({shorten(named).strip(chr(39))})" if isinstance(named, str) else text
