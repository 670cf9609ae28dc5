"""Codecs of scalars: the hints whose JSON data is a number, a string, a boolean or null."""

from __future__ import annotations

from base64 import b64encode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID

from .. import formats
from .codec import Codec, Converter, Unencodable
from .shapes import FloatShape, ScalarShape, TextShape

__all__ = ["SCALARS"]


def _encode_int(value: Any) -> Any:
    # bool is a subclass of int, but not an integer in JSON Schema; an IntEnum member becomes a plain int
    if type(value) is int:
        return value
    return int(value) if isinstance(value, int) and type(value) is not bool else _reject_decimal(value, int)


def _encode_float(value: Any) -> Any:
    if type(value) is float:
        return value
    if type(value) is bool:
        return value
    return float(value) if isinstance(value, int | float) else _reject_decimal(value, float)


def _reject_decimal(value: Any, kind: type) -> Any:
    return Unencodable(value, expected=kind) if isinstance(value, Decimal) else value


def _encode_str(value: Any) -> Any:
    # an instance of a subclass, such as a member of a StrEnum, becomes a plain str
    return str.__str__(value) if isinstance(value, str) else value


def _encode_instance(kind: type, encode: Converter) -> Converter:
    def encode_checked(value: Any) -> Any:
        return encode(value) if isinstance(value, kind) else Unencodable(value, expected=kind)

    return encode_checked


def _encode_date(value: Any) -> Any:
    # datetime is a subclass of date, and its time of day must not be lost silently
    is_date = isinstance(value, date) and not isinstance(value, datetime)
    return value.isoformat() if is_date else Unencodable(value, expected=date)


def _decode_base64(text: str) -> bytes:
    return formats.parse_base64(text)


def _decode_bytearray(text: str) -> bytearray:
    return bytearray(formats.parse_base64(text))


def _encode_base64(value: Any) -> Any:
    if not isinstance(value, bytes | bytearray | memoryview):
        return Unencodable(value, expected=bytes)
    return b64encode(value).decode()


def _format_codec(kind: type, name: str, decode: Converter, encode: Converter) -> Codec:
    return Codec(
        {"type": "string", "format": name},
        decode,
        encode,
        (kind,),
        structure=lambda shape_of: TextShape(decode, encode, formats.FORMATS.get(name)),
    )


def _bytes_codec(kind: type, other: type, decode: Converter) -> Codec:
    return Codec(
        {"type": "string", "contentEncoding": "base64"},
        decode,
        _encode_base64,
        (kind, other),
        hashable=kind is bytes,
        structure=lambda shape_of: TextShape(decode, _encode_base64, None),
    )


def _path_codec(kind: type) -> Codec:
    return _format_codec(kind, "path", kind, _encode_instance(PurePath, str))


def _ip_codec(kind: type, name: str) -> Codec:
    return _format_codec(kind, name, formats.parse_ip(kind), _encode_instance(kind, str))


#: Scalar hint -> its codec.
SCALARS: dict[Any, Codec] = {
    type(None): Codec({"type": "null"}, native_types=(type(None),), structure=lambda shape_of: ScalarShape("null")),
    bool: Codec({"type": "boolean"}, native_types=(bool,), structure=lambda shape_of: ScalarShape("boolean")),
    int: Codec({"type": "integer"}, int, _encode_int, (int,), structure=lambda shape_of: ScalarShape("integer")),
    float: Codec({"type": "number"}, float, _encode_float, (float, int), structure=lambda shape_of: FloatShape()),
    str: Codec({"type": "string"}, None, _encode_str, (str,), structure=lambda shape_of: ScalarShape("string")),
    bytes: _bytes_codec(bytes, bytearray, _decode_base64),
    bytearray: _bytes_codec(bytearray, bytes, _decode_bytearray),
    datetime: _format_codec(
        datetime, "date-time", formats.parse_datetime, _encode_instance(datetime, datetime.isoformat)
    ),
    date: _format_codec(date, "date", formats.parse_date, _encode_date),
    time: _format_codec(time, "time", formats.parse_time, _encode_instance(time, time.isoformat)),
    timedelta: _format_codec(
        timedelta, "duration", formats.parse_duration, _encode_instance(timedelta, formats.duration_text)
    ),
    Decimal: _format_codec(Decimal, "decimal", formats.parse_decimal, _encode_instance(Decimal, str)),
    UUID: _format_codec(UUID, "uuid", formats.parse_uuid, _encode_instance(UUID, str)),
    Fraction: _format_codec(Fraction, "fraction", formats.parse_fraction, _encode_instance(Fraction, str)),
    **{kind: _path_codec(kind) for kind in (Path, PurePath, PurePosixPath, PureWindowsPath)},
    **{
        kind: _ip_codec(kind, name)
        for kind, name in (
            (IPv4Address, "ipv4"),
            (IPv6Address, "ipv6"),
            (IPv4Network, "ipv4network"),
            (IPv6Network, "ipv6network"),
            (IPv4Interface, "ipv4interface"),
            (IPv6Interface, "ipv6interface"),
        )
    },
}
