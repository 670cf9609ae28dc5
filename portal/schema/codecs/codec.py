"""Codec: the JSON Schema of one type hint, with a decoder to native values and an encoder back.

A decoder may rely on data that fits the JSON Schema. An encoder may not rely on anything: it returns an unexpected
value unchanged, and the validation that follows rejects it with its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any, get_origin

from ...errors import Fault
from ..jsondata import Unencodable, copy_json
from .shapes import Shape

__all__ = [
    "Codec",
    "Converter",
    "Unencodable",
    "Violation",
    "any_codec",
    "generate",
    "map_source",
    "plain_test",
    "type_name",
]

Converter = Callable[[Any], Any]
Children = Callable[[Any], Iterable[tuple[Any, "Codec", Any]]]


@dataclass(slots=True)
class Codec:
    """The JSON Schema of one type hint, with a decoder and an encoder.

    Attributes:
        json: the JSON Schema.
        decode: JSON data that fits -> native value; None if they are the same.
        encode: native value -> JSON data; None if they are the same.
        native_types: the classes of the native values, the one that `decode` makes first.
        children: JSON data that fits -> (name or index, codec, part) for each part; it locates the fault if `decode`
            raises.
        hashable: whether the native values are hashable, as far as the hint says.
        structure: returns its shape, given a function that returns those of its parts; None if its own converters and
            a validator are needed. Code that changes `json`, `decode` or `encode` drops it, except for annotations.
    """

    json: dict[str, Any]
    decode: Converter | None = None
    encode: Converter | None = None
    native_types: tuple[type, ...] = (object,)
    children: Children | None = None
    hashable: bool = True
    structure: Callable[[Callable[[Codec], Shape]], Shape] | None = None


class Violation(ValueError):
    """A value that fits its JSON Schema and breaks a rule that the schema cannot express.

    Args:
        message: one sentence, "must be ...".
        rule: the name of the rule, for `Fault.rule`.
        expected: what the rule requires, as JSON data.
    """

    def __init__(self, message: str, rule: str, expected: Any = None) -> None:
        super().__init__(message)
        self.fault = Fault("", message, rule, expected)


#: The file name of generated code, in tracebacks.
GENERATED = "<portal.schema codec>"


@lru_cache(maxsize=512)
def _compile(source: str) -> CodeType:
    return compile(source, GENERATED, "exec")


def generate(source: str, names: dict[str, Any]) -> Converter:
    """Return the function `codec` that the source text defines, with `names` as its globals.

    Generated code has one expression for each field, without a loop or a call around it.
    """
    scope = dict(names)
    exec(_compile(source), scope)
    made: Converter = scope["codec"]
    return made


_MAX = "1.7976931348623157e308"
_PLAIN_TESTS = {
    "number": f"{{0}}.__class__ is float and -{_MAX} <= {{0}} <= {_MAX}",
    "integer": "{0}.__class__ is int",
    "boolean": "({0} is True or {0} is False)",
    "string": "({0}.__class__ is str and {0}.isascii())",
    "null": "{0} is None",
}
_ANNOTATIONS = frozenset({"type", "title", "description", "examples", "default", "deprecated"})


def plain_test(json: Any) -> str | None:
    """Return the source text of a fast test of `{0}`; None if the schema states more than one scalar type.

    A value that passes fits the schema, and its native value and JSON data are the same. A value that does not pass may
    still fit: the test is for the most frequent values.
    """
    if not isinstance(json, dict) or not _ANNOTATIONS.issuperset(json):
        return None
    kind = json.get("type")
    return _PLAIN_TESTS.get(kind) if isinstance(kind, str) else None


def map_source(converter: Converter | None, container: str = "list") -> str:
    """Return the source text of a new container with every item of `value` converted by `convert_item`."""
    return f"{container}(value)" if converter is None else f"{container}(map(convert_item, value))"


def type_name(hint: Any) -> str:
    """Return a hint as it is written in code."""
    if get_origin(hint) is None and isinstance(hint, type):
        return hint.__qualname__
    return str(hint).replace("typing.", "")


def any_codec() -> Codec:
    """Return the codec of Any: all JSON data, with containers copied."""
    return Codec({}, copy_json, copy_json)
