"""The errors that a function declares with `raises`, as data that is sent to clients."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from ..._internal.settings import require
from ...errors import ConfigError, PortalError
from ..callables import resolved_hints
from ..schema import Schema

__all__ = ["declared_errors", "describe_error", "is_row"]

#: The members of a row of `FunctionSchema.raises`, and their types.
_ROW = {
    **dict.fromkeys(("name", "code", "description"), str),
    **dict.fromkeys(("status", "rpc_code"), int),
    "retryable": bool,
    "members": dict,
}

_EXPECTED = "a list of subclasses of PortalError with a code"


def declared_errors(raises: Any) -> tuple[dict[str, Any], ...]:
    """Return the option `raises` of `@function` as rows of `FunctionSchema.raises`.

    Args:
        raises: error classes, or rows that this function returned.

    Raises: ConfigError for anything else, and for two classes with one code.
    """
    is_list = isinstance(raises, Iterable) and not isinstance(raises, str | Mapping | type)
    require(is_list, "function.raises", raises, _EXPECTED)
    rows: dict[str, dict[str, Any]] = {}
    for one in raises:
        row = dict(one) if isinstance(one, Mapping) else describe_error(one)
        code = str(row.get("code"))
        if code in rows and rows[code] != row:
            message = f"function.raises must have one class for each code, got two for {code!r}"
            raise ConfigError(message, path="function.raises", expected=_EXPECTED)
        rows[code] = row
    return tuple(rows.values())


def is_row(value: Any) -> bool:
    """Return whether a value that a server sent is a row of `FunctionSchema.raises`."""
    if not isinstance(value, Mapping):
        return False
    return all(name in value and type(value[name]) is kind for name, kind in _ROW.items())


def describe_error(cls: Any) -> dict[str, Any]:
    """Return the description of an error class: name, code, statuses, first line of the docstring, and its members.

    Raises: ConfigError for anything but a subclass of PortalError with a code.
    """
    is_declared = isinstance(cls, type) and issubclass(cls, PortalError) and cls.code != PortalError.code
    require(is_declared, "function.raises", cls, _EXPECTED)
    lines = (inspect.getdoc(cls) or "").strip().splitlines()
    return {
        "name": cls.__name__,
        "code": cls.code,
        "status": cls.status,
        "rpc_code": cls.rpc_code,
        "retryable": cls.retryable,
        "description": lines[0] if lines else f"{cls.__name__}.",
        "members": {name: _member_schema(cls, name) for name in cls.members},
    }


def _member_schema(cls: type[PortalError], name: str) -> dict[str, Any]:
    """Return the JSON Schema of a member, by the hint of the parameter of this name; {} if it has none."""
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if not inspect.isfunction(init) or name not in inspect.signature(init).parameters:
            continue
        try:
            return Schema.of(resolved_hints(init)[name]).to_json()
        except (ConfigError, KeyError):  # the member may be any object that becomes JSON data when it is sent
            return {}
    return {}
