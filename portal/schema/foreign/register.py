"""`register_type`: a class of your own in type hints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..._internal.settings import callback, instance
from ..schema import Schema
from .registry import ForeignType, add

__all__ = ["register_type"]

T = TypeVar("T")


def register_type(kind: type[T], *, to_json: Callable[[T], Any], from_json: Callable[[Any], T], schema: Any) -> type[T]:
    """Let a class stand in the type hints of functions.

    Register it where it is defined: functions that were made before are not changed. A subclass is not registered.

    Args:
        kind: the class.
        to_json: returns an instance as JSON data.
        from_json: returns an instance for JSON data that fits `schema`. ValueError and TypeError say that it is wrong.
        schema: what the JSON data is: a JSON Schema, or a type hint such as `str`.

    Returns: the class.
    Raises: ConfigError for a wrong setting, for a schema that is not one, and for a class that is registered already.

    Threads: any.
    """
    instance("register_type.kind", kind, type, expected="a class")
    callback("register_type.to_json", to_json)
    callback("register_type.from_json", from_json)
    described = Schema.of(schema, formats=True)
    json = described.to_json()
    if json.get("type") == "object":
        json.setdefault("title", kind.__name__)
    decode_part, encode_part = described.decode, described.encode
    is_hint = described.kind == "hint"  # `schema=Decimal`: the functions take and return a Decimal

    def decode(value: Any) -> T:
        return from_json(decode_part(value) if is_hint and decode_part is not None else value)

    def encode(value: T) -> Any:
        found = to_json(value)
        return encode_part(found) if is_hint and encode_part is not None else found

    add(ForeignType(kind, json, decode, encode))
    return kind
