"""JSON data as Python values: what counts as it, copies of it, and words about it.

JSON data is dict with str keys, list, str without lone surrogates, int, finite float, bool and None, nested at most
64 deep. Subclasses do not count: what left them out of JSON is what the receiver would never see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any
from uuid import UUID

from ..errors import Fault, shorten

__all__ = ["MAX_DEPTH", "MAX_FAULTS", "copy_json", "first_faults", "is_json", "json_faults", "pointer", "shorten"]

MAX_DEPTH = 64
#: Faults that a report lists: a body of 1 MiB may hold 300,000, which would make an answer of 36 MiB.
MAX_FAULTS = 1000
_INF = float("inf")


def is_json(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether the value is JSON data nested at most `depth` containers deep. Never raises; cycles are too deep."""
    kind = type(value)
    if kind is str:
        return _encodable(value)
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
            if type(key) is not str or not _encodable(key) or not is_json(item, depth - 1):
                return False
        return True
    return False


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def copy_json(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The value with every container copied and tuples made lists; anything else, and what is too deep, as it is."""
    kind = type(value)
    if kind is dict:
        return {key: copy_json(item, depth - 1) for key, item in value.items()} if depth > 0 else value
    if kind is list or kind is tuple:
        return [copy_json(item, depth - 1) for item in value] if depth > 0 else value
    return value


def pointer(tokens: Iterable[Any]) -> str:
    """The JSON Pointer (RFC 6901) of a path of names and indexes."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def first_faults(faults: Iterable[Fault]) -> list[Fault]:
    """The faults, in order; of more than `MAX_FAULTS` the first, and one that says so (rule "faults")."""
    found = list(islice(faults, MAX_FAULTS + 1))
    if len(found) > MAX_FAULTS:
        found[MAX_FAULTS:] = [Fault("", f"and more; a report lists {MAX_FAULTS} faults", "faults", MAX_FAULTS)]
    return found


class _TooDeep(Exception):
    def __init__(self, path: tuple[Any, ...], value: Any) -> None:
        self.path = path
        self.value = value


def json_faults(value: Any) -> list[Fault]:
    """What JSON cannot carry in the value: rules "json", "finite" and "depth".

    A value that is too deep gives that one fault, since a cycle has no end of others. No more than `MAX_FAULTS`, and
    one, are looked for.
    """
    if is_json(value):  # by far the faster of the two
        return []
    try:
        return list(islice(_walk(value, (), MAX_DEPTH), MAX_FAULTS + 1))
    except _TooDeep as error:
        message = f"is nested more than {MAX_DEPTH} deep"
        return [Fault(pointer(error.path), message, "depth", MAX_DEPTH, shorten(error.value))]


def _walk(value: Any, path: tuple[Any, ...], depth: int) -> Iterator[Fault]:
    kind = type(value)
    if kind is dict or kind is list:
        if depth <= 0:
            raise _TooDeep(path, value)
        if kind is list:
            for index, item in enumerate(value):
                yield from _walk(item, (*path, index), depth - 1)
        else:
            for key, item in value.items():
                if not (type(key) is str and _encodable(key)):
                    yield Fault(
                        pointer(path),
                        f"has a name that is no JSON text: {shorten(key)}",
                        "json",
                        "string",
                        shorten(key),
                    )
                else:
                    yield from _walk(item, (*path, key), depth - 1)
    elif kind is str:
        if not _encodable(value):
            yield Fault(
                pointer(path), "has a lone surrogate, which no JSON text can carry", "json", None, shorten(value)
            )
    elif kind is float:
        if not -_INF < value < _INF:
            yield Fault(pointer(path), f"must be a finite number, not {value}", "finite", None, shorten(value))
    elif kind is not int and kind is not bool and value is not None:
        name = getattr(kind, "__qualname__", str(kind))
        advice = f"; Schema.of({name}).dump(value) makes it so" if _has_json_form(kind) else ""
        yield Fault(pointer(path), f"must be JSON data, not {name}{advice}", "json", None, shorten(value))


def _has_json_form(kind: type) -> bool:
    """Whether a type hint of this class has a schema; of what is commonly given by mistake."""
    return issubclass(kind, Enum | Decimal | date | time | timedelta | UUID) or hasattr(kind, "__dataclass_fields__")
