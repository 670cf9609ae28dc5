"""Codecs of mappings: a JSON object with any names. A key that is an integer is written as its digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...errors import ConfigError, Fault
from ..validator import Validator
from .codec import Codec, Converter, Unencodable, Violation, generate
from .containers import require_different_hashes
from .scalars import SCALARS
from .shapes import MapShape

__all__ = ["INTEGER_NAME", "mapping_codec"]

#: The digits of an integer, in one way only: two names must not stand for one key.
INTEGER_NAME = "^(0|-?[1-9][0-9]*)$"


def mapping_codec(key: Codec, value: Codec, hint_name: str, container: type = dict) -> Codec:
    """Return the codec of dict[key, value], Mapping[key, value] and their like: an object.

    Args:
        key, value: the codecs of the keys and values.
        hint_name: the hint, for messages.
        container: the class of the native value.

    Raises: ConfigError if the JSON form of a key is neither a string nor an integer.
    """
    name = _name_codec(key, hint_name)
    json: dict[str, Any] = {"type": "object", "additionalProperties": value.json}
    if name.json != {"type": "string"}:
        json["propertyNames"] = name.json

    def children(data: Any) -> Iterator[tuple[str, Codec, Any]]:
        for text, part in data.items():
            yield text, name, text
            yield text, value, part

    if name.decode is None:
        decode = _mapping_converter(None, value.decode, container, guarded=False)
    else:
        decode = _key_decoder(name.decode, value.decode, container)
    encode = _mapping_converter(None if name is SCALARS[str] else name.encode, value.encode, dict, guarded=True)
    is_plain = container is dict and name is SCALARS[str]
    return Codec(
        json,
        decode,
        encode,
        (container, dict, Mapping),
        children,
        hashable=False,
        structure=(lambda shape_of: MapShape(shape_of(value))) if is_plain else None,
    )


def _name_codec(key: Codec, hint_name: str) -> Codec:
    """Return the codec of the keys as names of members."""
    json = key.json
    if _is_type("string", str, json):
        return key
    if not _is_type("integer", int, json):
        raise ConfigError(
            f"{hint_name}: the keys must be strings or integers in JSON",
            path=hint_name,
            expected="str, int, UUID, a date, an Enum or another key type whose JSON form is a string or an integer",
        )
    convert, encode_number = key.decode, key.encode
    accepts = Validator(json).accepts

    wrong_key = Fault("", f"must be a key of {hint_name}", "propertyNames", json)

    def decode(text: str) -> Any:
        number = int(text)
        if not accepts(number):
            raise Violation(wrong_key.message, wrong_key.rule, json)
        return number if convert is None else convert(number)

    def encode(native: Any) -> Any:
        number = native if encode_number is None else encode_number(native)
        if type(number) is not int:
            return number
        return str(number) if accepts(number) else Unencodable(native, wrong_key)

    names = {"enum": list(map(str, json["enum"]))} if "enum" in json else {"pattern": INTEGER_NAME}
    return Codec({"type": "string", **names}, decode, encode, key.native_types)


def _is_type(name: str, kind: type, json: dict[str, Any]) -> bool:
    if "enum" in json:
        return all(type(item) is kind for item in json["enum"])
    return json.get("type") == name


def _mapping_converter(
    convert_key: Converter | None, convert_value: Converter | None, container: type, *, guarded: bool
) -> Converter:
    """Return generated code that converts a mapping; if guarded, it returns other values unchanged."""
    key = "k" if convert_key is None else "convert_key(k)"
    item = "v" if convert_value is None else "convert_value(v)"
    made = "dict(value)" if (key, item) == ("k", "v") else f"{{{key}: {item} for k, v in value.items()}}"
    if container is not dict:
        made = f"container({made})"
    guard = " if isinstance(value, Mapping) else value" if guarded else ""
    names = {"convert_key": convert_key, "convert_value": convert_value, "Mapping": Mapping, "container": container}
    return generate(f"def codec(value):\n return {made}{guard}", names)


def _key_decoder(decode_key: Callable[[Any], Any], decode_value: Converter | None, container: type) -> Converter:
    def decode(data: Any) -> Any:
        keys = list(map(decode_key, data))
        require_different_hashes(keys)
        values = data.values() if decode_value is None else map(decode_value, data.values())
        found = container(dict(zip(keys, values, strict=True)))
        if len(found) != len(keys):
            raise ValueError("must not have two names that become the same key in Python")
        return found

    return decode
