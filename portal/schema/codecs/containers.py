"""Codecs of lists, sets and tuples. Each decoder and encoder copies the container, so that nothing is shared."""

from __future__ import annotations

from collections import abc, deque
from collections.abc import Iterator, Sequence, Set
from typing import Any

from ...errors import ConfigError
from .codec import Codec, Unencodable, generate, map_source
from .shapes import ArrayShape, TupleShape

__all__ = [
    "list_codec",
    "require_different_hashes",
    "sequence_codec",
    "set_codec",
    "tuple_codec",
    "variadic_tuple_codec",
]

_MAX_EQUAL_HASHES = 1000  # a set of so many items with one hash takes a few milliseconds


def _item_children(item: Codec) -> Any:
    def children(value: Any) -> Iterator[tuple[int, Codec, Any]]:
        for index, part in enumerate(value):
            yield index, item, part

    return children


def _array_codec(item: Codec, container: str, native_types: tuple[type, ...]) -> Codec:
    names = {"convert_item": item.decode, "deque": deque, "accepted": native_types}
    decode = generate(f"def codec(value):\n return {map_source(item.decode, container)}", names)
    encode = generate(
        f"def codec(value):\n return {map_source(item.encode)} if isinstance(value, accepted) else value",
        {**names, "convert_item": item.encode},
    )
    hashable = container == "tuple" and item.hashable
    return Codec(
        {"type": "array", "items": item.json},
        decode,
        encode,
        native_types,
        _item_children(item),
        hashable=hashable,
        structure=lambda shape_of: ArrayShape(shape_of(item), native_types[0], native_types),
    )


def list_codec(item: Codec, container: type = list) -> Codec:
    """Return the codec of list[item] or deque[item]: an array. The encoder accepts a tuple as well."""
    return _array_codec(item, container.__name__, (container, list, tuple))


def variadic_tuple_codec(item: Codec) -> Codec:
    """Return the codec of tuple[item, ...]: an array; the decoder makes a tuple."""
    return _array_codec(item, "tuple", (tuple, list))


#: Classes whose items are characters or bytes: one of them in place of a sequence is nearly always a mistake.
_TEXTS = (str, bytes, bytearray, memoryview)


def sequence_codec(item: Codec, kind: type) -> Codec:
    """Return the codec of an abstract class, such as Sequence[item] or Iterable[item]: an array.

    The decoder makes a list. The encoder accepts what has items: a range, a deque, a set, a view of a dict, and a
    generator for Iterable. It accepts no text, bytes or mapping.
    """
    accepted = abc.Iterable if kind is abc.Iterable else abc.Collection

    def encode(value: Any) -> Any:
        if not isinstance(value, accepted) or isinstance(value, (*_TEXTS, abc.Mapping)):
            return value
        found = list(value) if item.encode is None else list(map(item.encode, value))
        return sorted_items(found) if isinstance(value, Set) and not isinstance(value, _VIEWS) else found

    array = list_codec(item)
    return Codec(
        array.json,
        array.decode,
        encode,
        (list, tuple, accepted),
        array.children,
        hashable=False,
        structure=array.structure,
    )


#: Sets whose order is that of a dict.
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.items()))


def set_codec(item: Codec, container: type, hint_name: str) -> Codec:
    """Return the codec of set[item] or frozenset[item]: an array without equal items.

    The encoder sorts the items: the order of a set of strings differs between processes.

    Raises: ConfigError if the items are not hashable.
    """
    if not item.hashable:
        message = f"{hint_name}: the items must be hashable, as in every set of Python; use a list"
        raise ConfigError(message, path=hint_name, expected="a frozen dataclass, a tuple or a scalar")

    def encode(value: Any) -> Any:
        if not isinstance(value, Set):
            return Unencodable(value, expected=set)
        return sorted_items(list(value) if item.encode is None else list(map(item.encode, value)))

    def decode(value: Any) -> Any:
        items = value if item.decode is None else list(map(item.decode, value))
        require_different_hashes(items)
        found = container(items)
        if len(found) != len(items):
            raise ValueError("must not have items that are equal in Python, such as 1.0 and 1.00 as Decimal")
        return found

    json = {"type": "array", "items": item.json, "uniqueItems": True}
    native_types = (container, set, frozenset)
    return Codec(json, decode, encode, native_types, _item_children(item), hashable=container is frozenset)


def sorted_items(found: list[Any]) -> list[Any]:
    """Return the items of a set in an order that does not depend on the process: their own, or that of their text."""
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=repr)


def require_different_hashes(items: list[Any]) -> None:
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
    hashable = all(item.hashable for item in items)
    return Codec(
        json,
        decode,
        encode,
        (tuple, list),
        children,
        hashable=hashable,
        structure=lambda shape_of: TupleShape(tuple(map(shape_of, items))),
    )
