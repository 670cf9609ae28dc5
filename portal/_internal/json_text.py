"""Encode and decode JSON as UTF-8 bytes, strictly by RFC 8259."""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable
from typing import Any, TypeAlias

from ..errors import SerializationError

__all__ = ["JSONObject", "JSONValue", "decode_json", "encode_json"]

#: A value of JSON (RFC 8259).
JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
#: A JSON object.
JSONObject: TypeAlias = "dict[str, JSONValue]"


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON value")


_decoder = json.JSONDecoder(parse_constant=_reject_constant)
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def _one_shot_encoder(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Return `encoder.encode` with the C encoder made once instead of for each call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    text = json.encoder.encode_basestring_ascii if encoder.ensure_ascii else json.encoder.encode_basestring
    encode = make(None, encoder.default, text, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


_encode = _one_shot_encoder(_encoder)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def decode_json(data: bytes) -> Any:
    """Return the value of UTF-8 JSON text.

    Raises: SerializationError with the reason and position.
    """
    try:
        text = data.decode()
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            return _decoder.decode(text)  # leading white space, or an error with its position
        return value if end == len(text) else _decoder.decode(text)
    except RecursionError:
        raise SerializationError("the JSON text is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, NaN, or a number with too many digits
        raise SerializationError(f"the text must be JSON: {error}") from None


def encode_json(value: Any) -> bytes:
    """Return the UTF-8 JSON text of a value.

    Raises: SerializationError for a value that JSON cannot carry.
    """
    try:
        return _encode(value).encode()
    except RecursionError:
        raise SerializationError("the value is nested too deeply for JSON") from None
    except (TypeError, ValueError) as error:
        raise SerializationError(f"the value must be JSON data: {error}") from None
