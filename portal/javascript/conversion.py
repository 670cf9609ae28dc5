"""Convert JSON data to the JSON text that crosses the border to JavaScript, and back.

A number of JavaScript is a double. An integer that a double cannot hold exactly is rejected on the way in. On the way
out, JavaScript writes a number as the shortest text that means the same double. So an integer over 2^53 is read as a
double, but for a BigInt, which is exact and ends in "e0".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .._internal.json_encoder import encode_json
from .._internal.json_text import decode_finite_json
from ..errors import Fault, SerializationError, ValidationError
from .engine import EngineError

__all__ = ["decode_result", "encode_parameters"]

_MANY_DIGITS = re.compile(r"\d{16}")
_UNUSUAL = re.compile(r"\d{16}|\de0")
_SAFE = 2**53


def _integer(text: str) -> int:
    value = int(text)
    return value if -_SAFE <= value <= _SAFE else int(float(text))


def _number(text: str) -> int | float:
    return int(text[:-2]) if text.endswith("e0") else float(text)


_exact_decoder = json.JSONDecoder(parse_int=_integer, parse_float=_number)


def encode_parameters(params: dict[str, Any]) -> str:
    """Return valid parameters as JSON text.

    Raises: ValidationError for integers that a JavaScript number cannot hold.
    """
    text = encode_json(params).decode()
    if _MANY_DIGITS.search(text) is not None:
        faults = list(_inexact(params, ""))
        if faults:
            raise ValidationError(errors=faults)
    return text


def _inexact(value: Any, path: str) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _inexact(item, f"{path}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _inexact(item, f"{path}/{index}")
    elif isinstance(value, int) and not -_SAFE <= value <= _SAFE and not _is_double(value):
        message = "a JavaScript number cannot hold this integer exactly; send it as a string"
        yield Fault(path, message, "exact", _SAFE, str(value)[:40] if abs(value) < 10**100 else "a large integer")


def _is_double(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def decode_result(text: str) -> Any:
    """Return the JSON data of a result.

    Raises: EngineError (stage "convert") for text that Python cannot decode, such as very deep nesting.
    """
    try:
        found = decode_finite_json(text)
        return found if _UNUSUAL.search(text) is None else _exact_decoder.decode(text)
    except SerializationError as error:
        raise EngineError("convert", f"the result cannot be converted: {error.message}") from None
