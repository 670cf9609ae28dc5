"""Method names of published functions in JSON-RPC, and parameters by position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..catalogue import Catalogue, Entry
from ..errors import Fault, RegistryError, ValidationError
from ..function import Function
from ..schema.jsondata import shorten
from ..schema.names import MAX_NAME, MAX_VERSION

__all__ = ["Params", "find_method", "look_up_method", "method_names", "params_by_name"]

_MAX_ECHO = 100  # characters of a method name in an error
_MAX_METHOD = 3 * MAX_NAME + MAX_VERSION + 3  # characters of service, name, id and version

Params = dict[str, Any] | list[Any]


def find_method(catalogue: Catalogue, method: str) -> Entry:
    """Return the entry of a method name: "add", "add@2", "orders.price", "orders/price@1.2".

    A function's own name may contain dots, so the whole name is looked up first.

    Raises: RegistryError, with similar names.
    """
    entry = look_up_method(catalogue, method)
    if entry is not None:
        return entry
    if len(method) > _MAX_METHOD:
        raise RegistryError(f"there is no function {method[:_MAX_ECHO]}...", name=method[:_MAX_ECHO])
    name, at, version = method.partition("@")
    return catalogue.get(tuple(name.replace(".", "/").split("/")), version if at else None)


def look_up_method(catalogue: Catalogue, method: str) -> Entry | None:
    """Return the entry of a method name, or None; see `find_method`.

    Raises: RegistryError (invalid) for text after "@" that is neither a version nor a range.
    """
    if len(method) > _MAX_METHOD:
        return None
    if "@" not in method and (entry := catalogue.find(tuple(method.split("/")))) is not None:
        return entry
    name, at, version = method.partition("@")
    wanted = version if at else None
    for path in _paths(name):
        entry = catalogue.find(path, wanted)
        if entry is not None:
            return entry
    return None


def _paths(name: str) -> Iterator[tuple[str, ...]]:
    yield tuple(name.split("/"))
    if "/" in name:
        return
    parts = name.split(".")
    for index in range(1, min(len(parts), 10)):
        yield ".".join(parts[:index]), ".".join(parts[index:])


def params_by_name(function: Function, params: Params) -> dict[str, Any]:
    """Return parameters by name. Parameters by position get the names in the order of the signature.

    Raises: ValidationError for too many parameters.
    """
    if isinstance(params, dict):
        return params
    names = function.parameters.names
    if len(params) > len(names):
        text = f"must be at most {len(names)} parameter{'' if len(names) == 1 else 's'}, got {len(params)}"
        raise ValidationError(errors=[Fault("", text, "maxItems", len(names), shorten(params))])
    return dict(zip(names, params, strict=False))


def method_names(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return the entries by method name, in order.

    A name has dots, as in "orders.price". Versions other than the newest have a suffix, as in "add@1". If a dotted name
    means another entry, the name has slashes. `find_method` finds each entry by its name.
    """
    from packaging.version import Version

    ordered = sorted(entries, key=lambda entry: Version(entry.function.schema.version), reverse=True)
    known = {entry.path for entry in ordered}
    found: dict[str, Entry] = {}
    for entry in sorted(ordered, key=lambda entry: entry.path):
        dotted = ".".join(entry.path)
        first = next((path for path in _paths(dotted) if path in known), None)
        name = dotted if first == entry.path else entry.name
        found[f"{name}@{entry.function.schema.version}" if name in found else name] = entry
    return found
