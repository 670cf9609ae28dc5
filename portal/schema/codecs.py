"""One hint made ready: its JSON Schema, and how to get native values out of JSON data and back.

A decoder may take for granted that the data fits the JSON Schema. An encoder may take nothing for granted: what it
does not know it returns as it is, and the check that follows refuses it with its path.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from types import CodeType
from typing import Any
from uuid import UUID

from . import formats
from .jsondata import copy_json, shorten

__all__ = ["SCALARS", "Codec", "Node", "Unfit", "any_node", "each", "generate", "plain_test"]

Codec = Callable[[Any], Any]
Children = Callable[[Any], Iterable[tuple[Any, "Node", Any]]]


@dataclass(slots=True)
class Node:
    """A hint made ready.

    Attributes:
        json: its JSON Schema.
        decode: JSON data that fits -> native value; None where they are the same.
        encode: native value -> JSON data; None where they are the same.
        natives: the classes its native values have.
        children: JSON data that fits -> (name or index, node, part), to find where a decoder failed.
    """

    json: dict[str, Any]
    decode: Codec | None = None
    encode: Codec | None = None
    natives: tuple[type, ...] = (object,)
    children: Children | None = None


class Unfit:
    """A native value that the compiled check would wrongly take for JSON data, wrapped so that it refuses it."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return shorten(self.value)


@lru_cache(maxsize=512)
def _compiled(source: str) -> CodeType:
    return compile(source, "<portal.schema codec>", "exec")


def generate(source: str, names: dict[str, Any]) -> Codec:
    """The function `codec` that the source text defines, with `names` as its globals: flat code for fixed fields."""
    scope = dict(names)
    exec(_compiled(source), scope)
    made: Codec = scope["codec"]
    return made


_MAX = "1.7976931348623157e308"
_PLAIN = {
    "number": f"{{0}}.__class__ is float and -{_MAX} <= {{0}} <= {_MAX}",
    "integer": "{0}.__class__ is int",
    "boolean": "({0} is True or {0} is False)",
    "string": "({0}.__class__ is str and {0}.isascii())",
    "null": "{0} is None",
}
_ANNOTATIONS = frozenset({"type", "title", "description", "examples", "default", "deprecated"})


def plain_test(json: Any) -> str | None:
    """Source text of a test of `{0}`: True says that the value fits and is the same natively as in JSON.

    It is sufficient, not necessary: for a schema that says nothing but a scalar type, and the values that come most.
    None for any other schema.
    """
    if not isinstance(json, dict) or not _ANNOTATIONS.issuperset(json):
        return None
    kind = json.get("type")
    return _PLAIN.get(kind) if isinstance(kind, str) else None


def each(codec: Codec | None, container: str = "list") -> str:
    """Source text of an expression that puts every item of `value` through `codec` into a new container."""
    return f"{container}(value)" if codec is None else f"{container}(map(codec_of_item, value))"


def _to_int(value: Any) -> Any:
    # bool is an int to Python and none to JSON Schema; an int subclass such as IntEnum becomes the plain number
    if type(value) is int:
        return value
    return int(value) if isinstance(value, int) and type(value) is not bool else _no_number(value)


def _to_float(value: Any) -> Any:
    if type(value) is float:
        return value
    if type(value) is bool:
        return value
    return float(value) if isinstance(value, int | float) else _no_number(value)


def _no_number(value: Any) -> Any:
    return Unfit(value) if isinstance(value, Decimal) else value


def _to_text(value: Any) -> Any:
    # a subclass of str (a StrEnum among them) is its text; type(value) is str is the caller's common case
    return str.__str__(value) if isinstance(value, str) else value


def _by(kind: type, encode: Codec) -> Codec:
    def text_of(value: Any) -> Any:
        return encode(value) if isinstance(value, kind) else Unfit(value)

    return text_of


def _date_text(value: Any) -> Any:
    # a datetime is a date to isinstance; its time of day must not be lost in silence
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else Unfit(value)


def _from_base64(text: str) -> bytes:
    return b64decode(text, validate=True)


def _to_base64(value: Any) -> Any:
    return b64encode(value).decode() if isinstance(value, bytes | bytearray | memoryview) else Unfit(value)


def _formatted(kind: type, name: str, decode: Codec, encode: Codec) -> Node:
    return Node({"type": "string", "format": name}, decode, encode, (kind,))


def any_node() -> Node:
    """The node of Any: all JSON data, containers copied."""
    return Node({}, copy_json, copy_json)


#: Scalar hint -> its node.
SCALARS: dict[Any, Node] = {
    type(None): Node({"type": "null"}, natives=(type(None),)),
    bool: Node({"type": "boolean"}, natives=(bool,)),
    int: Node({"type": "integer"}, int, _to_int, (int,)),
    float: Node({"type": "number"}, float, _to_float, (float, int)),
    str: Node({"type": "string"}, None, _to_text, (str,)),
    bytes: Node({"type": "string", "contentEncoding": "base64"}, _from_base64, _to_base64, (bytes, bytearray)),
    datetime: _formatted(datetime, "date-time", formats.parse_datetime, _by(datetime, datetime.isoformat)),
    date: _formatted(date, "date", formats.parse_date, _date_text),
    time: _formatted(time, "time", formats.parse_time, _by(time, time.isoformat)),
    timedelta: _formatted(timedelta, "duration", formats.parse_duration, _by(timedelta, formats.duration_text)),
    Decimal: _formatted(Decimal, "decimal", formats.parse_decimal, _by(Decimal, str)),
    UUID: _formatted(UUID, "uuid", formats.parse_uuid, _by(UUID, str)),
}
