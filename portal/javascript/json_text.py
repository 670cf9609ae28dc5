"""Convert JSON data to the JSON text that crosses the border to JavaScript, and back.

Values that JSON does not have, such as `Uint8Array` and `Map`, are converted in JavaScript, see `prelude.py`.

A number of JavaScript is a double. An integer that a double cannot hold exactly is rejected on the way in. On the way
out, JavaScript writes a number as the shortest text that means the same double. So an integer over 2^53 is read as a
double, but for a BigInt, which is exact and ends in "e0".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from .._internal.json_encoder import encode_json
from ..errors import Fault, ValidationError
from ..schema.jsondata import MAX_DEPTH
from .engine import EngineError

__all__ = ["decode_result", "encode_parameters", "is_plain_json"]

_find_many_digits = re.compile(r"\d{16}").search
_SAFE = 2**53


def _integer(text: str) -> int:
    value = int(text)
    return value if -_SAFE <= value <= _SAFE else int(float(text))


def _number(text: str) -> int | float:
    if text.endswith("e0"):
        return int(text[:-2])
    value = float(text)
    if value - value != 0.0:
        raise ValueError(f"{text[:40]} is beyond the range of numbers")
    return value


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON value")


_decoder = json.JSONDecoder(parse_float=_number, parse_constant=_reject_constant)
#: For text with integers that may be over 2^53. It calls Python for each integer.
_exact_decoder = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_reject_constant)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]
_scan_exact: Callable[[str, int], tuple[Any, int]] = _exact_decoder.scan_once  # type: ignore[attr-defined]


def encode_parameters(params: dict[str, Any]) -> str:
    """Return valid parameters as JSON text.

    Raises: ValidationError for integers that a JavaScript number cannot hold.
    """
    text = encode_json(params).decode()
    if _find_many_digits(text) is not None:
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
        scan = _scan if _find_many_digits(text) is None else _scan_exact
        value, end = scan(text, 0)
        return value if end == len(text) else _exact_decoder.decode(text)
    except StopIteration:
        reason = "the text must be JSON"
    except RecursionError:
        reason = "the JSON text is nested too deeply"
    except ValueError as error:  # not JSON, or a number with too many digits
        reason = f"the text must be JSON: {error}"
    raise EngineError("convert", f"the result cannot be converted: {reason}")


def is_plain_json(text: str) -> bool:
    """Return whether what `decode_result` returns for a text is certainly JSON data.

    Two things that JSON text can carry are not JSON data: lone surrogates, and more than 64 levels of nesting.
    """
    is_flat = len(text) <= 2 * MAX_DEPTH or text.count("[") + text.count("{") <= MAX_DEPTH
    return is_flat and text.isascii() and "\\u" not in text
