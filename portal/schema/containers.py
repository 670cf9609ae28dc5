"""Nodes of lists, sets, tuples and dicts. Every codec copies the container, so that nothing is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from ..errors import ConfigError
from .codecs import SCALARS, Codec, Node, Unfit, each, generate

__all__ = ["list_node", "mapping_node", "set_node", "tuple_node", "variadic_node"]

_EQUAL_HASHES = 1000  # that many cost a few milliseconds


def _items_of(item: Node) -> Any:
    def children(value: Any) -> Iterator[tuple[int, Node, Any]]:
        for index, part in enumerate(value):
            yield index, item, part

    return children


def _sequence(item: Node, container: str, native: type) -> Node:
    names = {"codec_of_item": item.decode, "Unfit": Unfit}
    decode = generate(f"def codec(value):\n return {each(item.decode, container)}", names)
    names = {"codec_of_item": item.encode}
    encode = generate(
        f"def codec(value):\n return {each(item.encode)} if isinstance(value, (list, tuple)) else value", names
    )
    return Node({"type": "array", "items": item.json}, decode, encode, (native, list, tuple), _items_of(item))


def list_node(item: Node) -> Node:
    """list[item], Sequence[item]: an array. A tuple is taken for a list on the way out."""
    return _sequence(item, "list", list)


def variadic_node(item: Node) -> Node:
    """tuple[item, ...]: an array, a tuple natively."""
    return _sequence(item, "tuple", tuple)


def set_node(item: Node, container: type) -> Node:
    """set[item] and frozenset[item]: an array without equal items; sorted on the way out where its items sort."""

    def encode(value: Any) -> Any:
        if not isinstance(value, Set):
            return Unfit(value)
        found = list(value) if item.encode is None else list(map(item.encode, value))
        try:
            return sorted(found)
        except TypeError:
            return found

    def decode(value: Any) -> Any:
        items = value if item.decode is None else list(map(item.decode, value))
        _require_spread(items)
        return container(items)

    json = {"type": "array", "items": item.json, "uniqueItems": True}
    return Node(json, decode, encode, (container, set, frozenset), _items_of(item))


def _require_spread(items: list[Any]) -> None:
    """Refuse items most of which have equal hashes: a set of them would take quadratic time.

    Only the hashes of text are secret; those of numbers, and of what is made of them, are there for anyone to choose.
    """
    if len(items) > _EQUAL_HASHES and len(items) - len(set(map(hash, items))) > _EQUAL_HASHES:
        raise ValueError(f"more than {_EQUAL_HASHES} of the items have hashes that others have, too")


def tuple_node(items: Sequence[Node]) -> Node:
    """tuple[a, b]: an array of exactly these items, a tuple natively."""
    names: dict[str, Any] = {}
    parts: dict[str, list[str]] = {"decode": [], "encode": []}
    for index, item in enumerate(items):
        for way in ("decode", "encode"):
            codec = getattr(item, way)
            names[f"{way}{index}"] = codec
            parts[way].append(f"value[{index}]" if codec is None else f"{way}{index}(value[{index}])")
    decode = generate(f"def codec(value):\n return ({''.join(part + ', ' for part in parts['decode'])})", names)
    encode = generate(
        f"def codec(value):\n if isinstance(value, (list, tuple)) and len(value) == {len(items)}:\n"
        f"  return [{', '.join(parts['encode'])}]\n return list(value) if isinstance(value, tuple) else value",
        names,
    )

    def children(value: Any) -> Iterator[tuple[int, Node, Any]]:
        for index, item in enumerate(items):
            yield index, item, value[index]

    json: dict[str, Any] = {"type": "array", "minItems": len(items), "maxItems": len(items), "items": False}
    if items:
        json["prefixItems"] = [item.json for item in items]
    return Node(json, decode, encode, (tuple, list), children)


def mapping_node(key: Node, value: Node, where: str) -> Node:
    """dict[key, value] and Mapping: an object. Keys are text in JSON, so their hint must be text there too."""
    if not _is_text(key.json):
        raise ConfigError(f"{where}: JSON object names are text, and this key type is not", path=where, expected="str")
    json: dict[str, Any] = {"type": "object", "additionalProperties": value.json}
    if key.json != {"type": "string"}:
        json["propertyNames"] = key.json

    def children(data: Any) -> Iterator[tuple[str, Node, Any]]:
        for name, part in data.items():
            yield name, key, name
            yield name, value, part

    plain = key is SCALARS[str]
    codecs: list[Codec] = []
    for key_codec, codec in ((key.decode, value.decode), (None if plain else key.encode, value.encode)):
        left = "k" if key_codec is None else "codec_of_key(k)"
        right = "v" if codec is None else "codec_of_item(v)"
        inner = "dict(value)" if (left, right) == ("k", "v") else f"{{{left}: {right} for k, v in value.items()}}"
        names = {"codec_of_key": key_codec, "codec_of_item": codec, "Mapping": Mapping}
        guard = " if isinstance(value, Mapping) else value" if codecs else ""
        codecs.append(generate(f"def codec(value):\n return {inner}{guard}", names))
    decode = codecs[0] if key.decode is None else _spread_decoder(key.decode, value.decode)
    return Node(json, decode, codecs[1], (dict, Mapping), children)


def _spread_decoder(decode_name: Callable[[Any], Any], decode_value: Codec | None) -> Codec:
    def decode(data: Any) -> Any:
        names = list(map(decode_name, data))
        _require_spread(names)
        values = data.values() if decode_value is None else map(decode_value, data.values())
        return dict(zip(names, values, strict=True))

    return decode


def _is_text(json: dict[str, Any]) -> bool:
    if "enum" in json:
        return all(isinstance(item, str) for item in json["enum"])
    return json.get("type") == "string" or isinstance(json.get("const"), str)
