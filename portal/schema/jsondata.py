"""JSON data as Python values: test it, copy it, and describe what is wrong with it.

JSON data is dict with str keys, list, str without lone surrogates, int, finite float, bool and None, nested at most
64 levels deep. Instances of subclasses are not JSON data: their extra state would not reach the receiver.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from uuid import UUID

from ..errors import Fault, shorten
from ..errors.fault import limit_faults

__all__ = [
    "MAX_DEPTH",
    "MEMBER_NAMES",
    "SCALAR_TYPES",
    "Unencodable",
    "copy_json",
    "is_encodable",
    "is_json",
    "json_faults",
    "pointer",
    "shorten",
    "too_deep",
]

MAX_DEPTH = 64


class Unencodable:
    """A native value that does not match its hint, wrapped so that validation rejects it.

    jsonschema-rs would accept some of these values, such as a Decimal as a number.

    Args:
        value: the value.
        fault: what is wrong with it, without a path; None if its class is wrong.
        expected: the class that it must have; None if the hint allows several.
    """

    __slots__ = ("expected", "fault", "value")

    def __init__(self, value: object, fault: Fault | None = None, expected: type | None = None) -> None:
        self.value = value
        self.fault = fault
        self.expected = expected

    def __repr__(self) -> str:
        return shorten(self.value)


#: Class of a scalar -> its JSON type.
SCALAR_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
#: The keyword with the names of the members of an enumeration, in the order of `enum`. Generators of clients know it.
MEMBER_NAMES = "x-enum-varnames"
_INF = float("inf")


def is_json(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Return whether the value is JSON data nested at most `depth` containers deep.

    It never raises. A cycle is too deep.
    """
    kind = type(value)
    if kind is str:
        return is_encodable(value)
    if kind is int or kind is bool or value is None:
        return True
    if kind is float:
        return bool(-_INF < value < _INF)
    if depth <= 0:
        return False
    if kind is list:
        for item in value:  # noqa: SIM110 - a generator costs twice as much here
            if not is_json(item, depth - 1):
                return False
        return True
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not is_encodable(key) or not is_json(item, depth - 1):
                return False
        return True
    return False


def too_deep(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Return whether containers are nested more than `depth` deep in the value."""
    kind = type(value)
    if kind is dict:
        return depth <= 0 or any(too_deep(item, depth - 1) for item in value.values())
    if kind is list or kind is tuple:
        return depth <= 0 or any(too_deep(item, depth - 1) for item in value)
    return False


def is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def copy_json(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return the value with every container copied and each tuple turned into a list.

    Other values are returned unchanged. So is what is nested more than `depth` containers deep.
    """
    kind = type(value)
    if kind is dict:
        return {key: copy_json(item, depth - 1) for key, item in value.items()} if depth > 0 else value
    if kind is list or kind is tuple:
        return [copy_json(item, depth - 1) for item in value] if depth > 0 else value
    return value


def pointer(tokens: Iterable[Any]) -> str:
    """Return the JSON Pointer (RFC 6901) of a path of names and indexes.

    A lone surrogate in a name, which UTF-8 cannot encode, is written as its escape, such as \\ud800.
    """
    text = "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class _TooDeep(Exception):
    def __init__(self, path: tuple[Any, ...], value: Any) -> None:
        self.path = path
        self.value = value


def json_faults(value: Any) -> list[Fault]:
    """Return the faults of what JSON cannot carry in the value; their rules are "json", "finite" and "depth".

    A value that is too deep gives only that fault, since a cycle has no end of others. The search stops as
    `limit_faults` says.
    """
    if is_json(value):  # by far the faster of the two
        return []
    try:
        return limit_faults(_find_faults(value, (), MAX_DEPTH))
    except _TooDeep as error:
        message = f"must not be nested more than {MAX_DEPTH} levels deep"
        return [Fault(pointer(error.path), message, "depth", MAX_DEPTH, shorten(error.value))]


def _find_faults(value: Any, path: tuple[Any, ...], depth: int) -> Iterator[Fault]:
    kind = type(value)
    if kind is dict or kind is list:
        if depth <= 0:
            raise _TooDeep(path, value)
        if kind is list:
            for index, item in enumerate(value):
                yield from _find_faults(item, (*path, index), depth - 1)
        else:
            yield from _find_member_faults(value, path, depth)
    elif kind is str:
        if not is_encodable(value):
            message = "must not contain a lone surrogate, which UTF-8 cannot encode"
            yield Fault(pointer(path), message, "json", None, shorten(value))
    elif kind is float:
        if not -_INF < value < _INF:
            yield Fault(pointer(path), f"must be a finite number, got {value}", "finite", None, shorten(value))
    elif kind is Unencodable:
        yield _unencodable_fault(value, path)
    elif kind is not int and kind is not bool and value is not None:
        name = getattr(kind, "__qualname__", str(kind))
        yield Fault(pointer(path), f"must be JSON data, got {name}{_advice(kind)}", "json", None, shorten(value))


def _text_of(key: Any) -> str:
    try:
        return str(key)[:80]
    except Exception:  # a __str__ of user code may raise anything
        return shorten(key)


def _unencodable_fault(found: Unencodable, path: tuple[Any, ...]) -> Fault:
    if found.fault is not None:
        return replace(found.fault, path=pointer(path), value=shorten(found.value))
    given = type(found.value).__qualname__
    wanted = "of the hint" if found.expected is None else found.expected.__qualname__
    return Fault(pointer(path), f"must have the type {wanted}, got {given}", "json", None, shorten(found.value))


def _find_member_faults(value: dict[Any, Any], path: tuple[Any, ...], depth: int) -> Iterator[Fault]:
    for key, item in value.items():
        if type(key) is str and is_encodable(key):
            yield from _find_faults(item, (*path, key), depth - 1)
        elif type(key) is Unencodable and key.fault is not None:
            yield _unencodable_fault(key, (*path, _text_of(key.value)))
        else:
            name = shorten(key)
            message = f"must have strings that UTF-8 can encode as member names, got {name}"
            yield Fault(pointer(path), message, "json", "string", name)


def _advice(kind: type) -> str:
    """Return what to do with a value of a class that callers often pass by mistake, for the end of a message."""
    if issubclass(kind, Enum) or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "_fields"):
        name = kind.__qualname__
    elif issubclass(kind, tuple | Set | deque):
        return "; pass a list"
    elif issubclass(kind, Mapping):
        return "; pass a dict"
    elif issubclass(kind, Coroutine):
        return "; run it to its end, for example with asyncio.run"
    else:
        name = next((each.__name__ for each in _NATIVE if issubclass(kind, each)), "")
    return f"; convert it with Schema.of({name}).dump(value)" if name else ""


#: Classes of values that are no JSON data and have a schema, each subclass before its base class.
_NATIVE = (
    *(Decimal, Fraction, datetime, date, time, timedelta, UUID, bytes, bytearray, Path, PurePosixPath, PurePath),
    *(IPv4Interface, IPv6Interface, IPv4Address, IPv6Address, IPv4Network, IPv6Network),
)
