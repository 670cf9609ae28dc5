"""Names in generated modules. What a server sends may be any text: a name is made of its letters and digits only."""

from __future__ import annotations

import keyword
import re

from ...schema.bundle.naming import pascal_case

__all__ = ["Names", "class_name", "docstring", "identifier", "is_field_name", "is_member_name", "literal"]

#: Names of the module that a class or a member must not hide.
_TYPES = frozenset(("bool", "bytes", "dict", "float", "int", "list", "object", "set", "str", "tuple", "dt", "field"))
_IMPORTED = frozenset(
    (
        *("Bytes", "Client", "ClassVar", "Decimal", "Enum", "File", "Fraction", "Iterator", "JSONValue", "Literal"),
        *("OMIT", "Path", "PortalError", "TypedDict", "NotRequired", "UUID", "dataclass", "declared_error"),
        *("IPv4Address", "IPv4Interface", "IPv4Network", "IPv6Address", "IPv6Interface", "IPv6Network"),
    )
)


def identifier(name: str) -> str:
    """Return a name for a method or a parameter: "stock-level" gives `stock_level`, "from" gives `from_`."""
    found = re.sub(r"[^A-Za-z0-9_]+", "_", name).lstrip("_") or "value"
    if found[0].isdigit():
        found = f"n{found}"
    return f"{found}_" if keyword.iskeyword(found) or found in _TYPES or found in ("self", "cls") else found


def is_field_name(name: str) -> bool:
    """Return whether a member of an object can be a field of a dataclass under its own name."""
    return identifier(name) == name and name not in _IMPORTED


def is_member_name(name: str) -> bool:
    """Return whether a member of an enumeration can have a name."""
    return identifier(name) == name and not name.startswith("_") and name not in ("mro", "name", "value")


def class_name(text: str) -> str:
    """Return a name for a class: "get_user/input" gives `GetUserInput`."""
    return pascal_case(text, "Type")


def docstring(text: str, indent: str) -> list[str]:
    """Return the lines of a docstring; [] for an empty text."""
    lines = [line.rstrip() for line in _escaped(text).strip().splitlines()]
    if not lines:
        return []
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    return [f'{indent}"""{lines[0]}', *(f"{indent}{line}".rstrip() for line in lines[1:]), f'{indent}"""']


def literal(value: object) -> str:
    """Return a constant as Python source, text in double quotes."""
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    found = repr(value)
    if found.startswith("'") and '"' not in found:
        return '"' + found[1:-1].replace("\\'", "'") + '"'
    return found


def _escaped(text: str) -> str:
    """Return text that stays inside of a docstring, whatever it is."""
    found = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
    found = found.replace("\\", "\\\\")
    if '"""' in found or found.rstrip().endswith('"'):
        found = found.replace('"', '\\"')
    return found


class Names:
    """The names of one module, each used once. Threads: one."""

    def __init__(self) -> None:
        self._taken = {name.lower() for name in _IMPORTED | _TYPES}

    def free(self, name: str) -> str:
        """Return the name, or one with a number if it is taken."""
        found, number = name, 1
        while found.lower() in self._taken:
            number += 1
            found = f"{name}{number}"
        self._taken.add(found.lower())
        return found
