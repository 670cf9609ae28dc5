"""Codecs of lists, sets, tuples and dicts. Each decoder and encoder copies the container, so that nothing is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from ...errors import ConfigError
from .codec import Codec, Converter, Unencodable, generate, map_source
from .scalars import SCALARS

__all__ = ["list_codec", "mapping_codec", "set_codec", "tuple_codec", "variadic_tuple_codec"]

_MAX_EQUAL_HASHES = 1000  # a set of so many items with one hash takes a few milliseconds


def _item_children(item: Codec) -> Any:
    def children(value: Any) -> Iterator[tuple[int, Codec, Any]]:
        for index, part in enumerate(value):
            yield index, item, part

    return children


def _array_codec(item: Codec, container: str, native_type: type) -> Codec:
    decode = generate(f"def codec(value):\n return {map_source(item.decode, container)}", {"convert_item": item.decode})
    encode = generate(
        f"def codec(value):\n return {map_source(item.encode)} if isinstance(value, (list, tuple)) else value",
        {"convert_item": item.encode},
    )
    return Codec(
        {"type": "array", "items": item.json}, decode, encode, (native_type, list, tuple), _item_children(item)
    )


def list_codec(item: Codec) -> Codec:
    """Return the codec of list[item] and Sequence[item]: an array. The encoder accepts a tuple as well."""
    return _array_codec(item, "list", list)


def variadic_tuple_codec(item: Codec) -> Codec:
    """Return the codec of tuple[item, ...]: an array; the decoder makes a tuple."""
    return _array_codec(item, "tuple", tuple)


def set_codec(item: Codec, container: type) -> Codec:
    """Return the codec of set[item] or frozenset[item]: an array without equal items.

    The encoder sorts the items: the order of a set of strings differs between processes.
    """

    def encode(value: Any) -> Any:
        if not isinstance(value, Set):
            return Unencodable(value)
        return sorted_items(list(value) if item.encode is None else list(map(item.encode, value)))

    def decode(value: Any) -> Any:
        items = value if item.decode is None else list(map(item.decode, value))
        _require_different_hashes(items)
        return container(items)

    json = {"type": "array", "items": item.json, "uniqueItems": True}
    return Codec(json, decode, encode, (container, set, frozenset), _item_children(item))


def sorted_items(found: list[Any]) -> list[Any]:
    """Return the items of a set in an order that does not depend on the process: their own, or that of their text."""
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=repr)


def _require_different_hashes(items: list[Any]) -> None:
    """Raise ValueError if too many items share their hashes: a set of them would take quadratic time.

    Only hashes of text are secret. Anyone can choose numbers, and values made of numbers, that have equal hashes.
    """
    if len(items) > _MAX_EQUAL_HASHES and len(items) - len(set(map(hash, items))) > _MAX_EQUAL_HASHES:
        raise ValueError(f"at most {_MAX_EQUAL_HASHES} items may have the hash of another item")


def tuple_codec(items: Sequence[Codec]) -> Codec:
    """Return the codec of tuple[a, b]: an array of exactly these items; the decoder makes a tuple."""
    names: dict[str, Any] = {}
    parts: dict[str, list[str]] = {"decode": [], "encode": []}
    for index, item in enumerate(items):
        for direction in ("decode", "encode"):
            converter = getattr(item, direction)
            names[f"{direction}{index}"] = converter
            parts[direction].append(f"value[{index}]" if converter is None else f"{direction}{index}(value[{index}])")
    decode = generate(f"def codec(value):\n return ({''.join(part + ', ' for part in parts['decode'])})", names)
    encode = generate(
        f"def codec(value):\n if isinstance(value, (list, tuple)) and len(value) == {len(items)}:\n"
        f"  return [{', '.join(parts['encode'])}]\n return list(value) if isinstance(value, tuple) else value",
        names,
    )

    def children(value: Any) -> Iterator[tuple[int, Codec, Any]]:
        for index, item in enumerate(items):
            yield index, item, value[index]

    json: dict[str, Any] = {"type": "array", "minItems": len(items), "maxItems": len(items), "items": False}
    if items:
        json["prefixItems"] = [item.json for item in items]
    return Codec(json, decode, encode, (tuple, list), children)


def mapping_codec(key: Codec, value: Codec, hint_name: str) -> Codec:
    """Return the codec of dict[key, value] and Mapping[key, value]: an object.

    Raises: ConfigError if the JSON form of a key is not a string, as it must be in a JSON object.
    """
    if not _is_string_schema(key.json):
        raise ConfigError(
            f"{hint_name}: the keys must be strings in JSON",
            path=hint_name,
            expected="str, UUID, a date or another key type whose JSON form is a string",
        )
    json: dict[str, Any] = {"type": "object", "additionalProperties": value.json}
    if key.json != {"type": "string"}:
        json["propertyNames"] = key.json

    def children(data: Any) -> Iterator[tuple[str, Codec, Any]]:
        for name, part in data.items():
            yield name, key, name
            yield name, value, part

    if key.decode is None:
        decode = _mapping_converter(None, value.decode, guarded=False)
    else:
        decode = _key_decoder(key.decode, value.decode)
    encode = _mapping_converter(None if key is SCALARS[str] else key.encode, value.encode, guarded=True)
    return Codec(json, decode, encode, (dict, Mapping), children)


def _mapping_converter(convert_key: Converter | None, convert_value: Converter | None, *, guarded: bool) -> Converter:
    """Return generated code that converts a mapping; if guarded, it returns other values unchanged."""
    key = "k" if convert_key is None else "convert_key(k)"
    item = "v" if convert_value is None else "convert_value(v)"
    made = "dict(value)" if (key, item) == ("k", "v") else f"{{{key}: {item} for k, v in value.items()}}"
    guard = " if isinstance(value, Mapping) else value" if guarded else ""
    names = {"convert_key": convert_key, "convert_value": convert_value, "Mapping": Mapping}
    return generate(f"def codec(value):\n return {made}{guard}", names)


def _key_decoder(decode_key: Callable[[Any], Any], decode_value: Converter | None) -> Converter:
    def decode(data: Any) -> Any:
        keys = list(map(decode_key, data))
        _require_different_hashes(keys)
        values = data.values() if decode_value is None else map(decode_value, data.values())
        return dict(zip(keys, values, strict=True))

    return decode


def _is_string_schema(json: dict[str, Any]) -> bool:
    if "enum" in json:
        return all(isinstance(item, str) for item in json["enum"])
    return json.get("type") == "string" or isinstance(json.get("const"), str)
