"""JSON text as UTF-8 bytes, encoded and decoded strictly (RFC 8259)."""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable
from typing import Any

from ..errors import SerializationError

__all__ = ["decode_json", "encode_json"]


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def _one_shot_encoder(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """What `encoder.encode` does, with the C encoder made once and not once a call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    text = json.encoder.encode_basestring_ascii if encoder.ensure_ascii else json.encoder.encode_basestring
    encode = make(None, encoder.default, text, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


_encode = _one_shot_encoder(_encoder)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def decode_json(data: bytes) -> Any:
    """The value that UTF-8 JSON text holds; SerializationError says what is wrong and where."""
    try:
        text = data.decode()
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            return _decoder.decode(text)  # white space in front, or an error to be told
        return value if end == len(text) else _decoder.decode(text)
    except RecursionError:
        raise SerializationError("the JSON is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, NaN, or a number with too many digits
        raise SerializationError(f"this is no JSON: {error}") from None


def encode_json(value: Any) -> bytes:
    """UTF-8 JSON text of a value; SerializationError for what JSON cannot carry."""
    try:
        return _encode(value).encode()
    except RecursionError:
        raise SerializationError("the value is nested too deeply for JSON") from None
    except (TypeError, ValueError) as error:
        raise SerializationError(f"the value cannot be sent as JSON: {error}") from None
