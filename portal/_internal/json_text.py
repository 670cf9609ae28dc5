"""Decode JSON from UTF-8 bytes, strictly by RFC 8259.

`BodyDecoder` decodes the bodies of strangers: it counts their objects and arrays before it makes any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ProtocolError, SerializationError
from .counter import Counter
from .settings import count

__all__ = [
    "MAX_CONTAINERS",
    "BodyDecoder",
    "JSONObject",
    "JSONValue",
    "count_containers",
    "decode_finite_json",
    "decode_json",
]

#: Objects and arrays in one body by default. An empty one takes 3 bytes of text and 64 bytes of memory or more.
MAX_CONTAINERS = 100_000

if TYPE_CHECKING:
    #: A value of JSON (RFC 8259).
    JSONValue: TypeAlias = bool | int | float | str | list["JSONValue"] | dict[str, "JSONValue"] | None
else:  # as a type hint of a function it is any JSON data
    JSONValue = Any
#: A JSON object.
JSONObject: TypeAlias = "dict[str, JSONValue]"


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0.0:
        raise ValueError(f"{text[:40]} is beyond the range of numbers")
    return value


_decoder = json.JSONDecoder(parse_constant=_reject_constant)
_finite_decoder = json.JSONDecoder(parse_constant=_reject_constant, parse_float=_finite)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]
#: What a number beyond the range of a float has: below 1e200 times 1e99 there is none.
_MAY_BE_INFINITE = re.compile(r"[eE]\+?[0-9]{3}|(?<![0-9])[0-9]{200}")
_SHORT = 1024  # characters of text that is searched for such a number
_scan_finite: Callable[[str, int], tuple[Any, int]] = _finite_decoder.scan_once  # type: ignore[attr-defined]


def decode_json(data: bytes | str) -> Any:
    """Return the value of JSON text, in UTF-8 if it is bytes.

    A number that is too large for a float is infinite, as 1e999 is. Validation rejects it with its path.

    Raises: SerializationError with the reason and position.
    """
    return _decode(data, False)


def decode_finite_json(data: bytes | str) -> Any:
    """Return the value of JSON text that is not validated later, such as a result.

    Raises: SerializationError also for a number that is too large for a float, such as 1e999; as `decode_json`.
    """
    return _decode(data, True)


def _decode(data: bytes | str, finite: bool) -> Any:
    scan, decoder = _scan, _decoder
    try:
        text = data if isinstance(data, str) else data.decode()
        if finite and (len(text) > _SHORT or _MAY_BE_INFINITE.search(text) is not None):
            scan, decoder = _scan_finite, _finite_decoder  # each number gets a look of its own
        try:
            value, end = scan(text, 0)
        except StopIteration:
            return decoder.decode(text)  # leading white space, or an error with its position
        return value if end == len(text) else decoder.decode(text)
    except RecursionError:
        raise SerializationError("the JSON text is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, NaN, or a number with too many digits
        raise SerializationError(f"the text must be JSON: {error}") from None


#: A string, or the rest of the text if it has no end. It matches at each quote where it is tried, so a scan is linear.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def count_containers(data: bytes, limit: int) -> int:
    """Return a number that exceeds `limit` exactly if JSON text opens more objects and arrays; it is then theirs.

    It takes no memory, and little time unless there are more brackets than `limit`, those in strings included.
    """
    found = data.count(b"{") + data.count(b"[")
    if found > limit:
        for string in _STRING.finditer(data):
            start, end = string.span()
            found -= data.count(b"{", start, end) + data.count(b"[", start, end)
    return found


class BodyDecoder:
    """Decodes the JSON text of bodies, with a bound on their objects and arrays.

    Args:
        max_containers: objects and arrays of one body at most.

    Attributes:
        max_containers: the bound.
        rejected: counts the bodies with more.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    def __init__(self, max_containers: int = MAX_CONTAINERS) -> None:
        self.max_containers = count("serving.max_containers", max_containers)
        self.rejected = Counter()

    def decode(self, data: bytes | str) -> Any:
        """Return the value of JSON text.

        Raises: ProtocolError (413) for too many objects and arrays, before any is made; SerializationError for text
            that is not JSON.
        """
        if len(data) > self.max_containers:
            self.check(data.encode() if isinstance(data, str) else data)
        return _decode(data, False)

    def check(self, *texts: bytes) -> None:
        """Raise ProtocolError (413) for too many objects and arrays in all JSON texts of one body together.

        Text of `max_containers` bytes has fewer.
        """
        found = sum(text.count(b"{") + text.count(b"[") for text in texts)
        if found > self.max_containers:
            found = sum(count_containers(text, 0) for text in texts)
        if found > self.max_containers:
            self.rejected.add()
            message = f"the body must have at most {self.max_containers:,} objects and arrays, got {found:,}"
            raise ProtocolError(message, status=413)
