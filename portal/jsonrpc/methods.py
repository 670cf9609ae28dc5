"""Methods: the names under which JSON-RPC calls what is published, and parameters by position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..catalogue import Catalogue, Entry
from ..errors import Fault, ValidationError
from ..function import Function
from ..schema.jsondata import shorten

__all__ = ["Params", "find_method", "method_names", "params_by_name"]

Params = dict[str, Any] | list[Any]


def find_method(catalogue: Catalogue, method: str) -> Entry:
    """The entry that a method name means: "add", "add@2", "orders.price", "orders/price@1.2".

    A name may hold dots itself, so the whole of it is looked for first.

    Raises: RegistryError that says what is near.
    """
    name, at, version = method.partition("@")
    wanted = version if at else None
    for path in _paths(name):
        entry = catalogue.find(path, wanted)
        if entry is not None:
            return entry
    return catalogue.get(tuple(name.replace(".", "/").split("/")), wanted)


def _paths(name: str) -> Iterator[tuple[str, ...]]:
    yield tuple(name.split("/"))
    if "/" in name:
        return
    parts = name.split(".")
    for index in range(1, min(len(parts), 10)):
        yield ".".join(parts[:index]), ".".join(parts[index:])


def params_by_name(function: Function, params: Params) -> dict[str, Any]:
    """Parameters by name; those by position take the names in the order of the signature.

    Raises: ValidationError for more than the function has.
    """
    if isinstance(params, dict):
        return params
    names = function.parameters.names
    if len(params) > len(names):
        text = f"takes {len(names)} parameters, and {len(params)} were given"
        raise ValidationError(errors=[Fault("", text, "maxItems", len(names), shorten(params))])
    return dict(zip(names, params, strict=False))


def method_names(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The method name of each entry, in order: with dots, "orders.price"; versions but the newest as "add@1".

    `find_method` finds the entry under its name; a slash stands where a dot would lead elsewhere.
    """
    from packaging.version import Version

    ordered = sorted(entries, key=lambda entry: Version(entry.function.schema.version), reverse=True)
    known = {entry.path for entry in ordered}
    found: dict[str, Entry] = {}
    for entry in sorted(ordered, key=lambda entry: entry.path):
        dotted = ".".join(entry.path)
        first = next((path for path in _paths(dotted) if path in known), None)
        name = dotted if first == entry.path else "/".join(entry.path)
        found[f"{name}@{entry.function.schema.version}" if name in found else name] = entry
    return found
