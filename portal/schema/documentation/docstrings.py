"""The descriptions of parameters in docstrings, in the styles of Google and NumPy.

Sources: Google Python Style Guide, section 3.8.3; numpydoc format guide, section "Parameters".
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["docstring_of", "parameter_descriptions", "without_parameters"]

_GOOGLE = re.compile(r"(Args|Arguments|Parameters):\s*")
_NUMPY = "Parameters"
#: The head of an entry: `a`, `a, b`, `*names`, `a (int, optional)`, and text after a colon.
_ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\([^)]*\))?\s*:(?:\s+(?P<text>.*))?")
_NUMPY_ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?")


def docstring_of(target: Any) -> str:
    """Return the docstring of a callable, without the indentation of its lines; "" if it has none."""
    if isinstance(target, functools.partial):  # its own docstring is that of the class
        target = target.func
    return inspect.getdoc(target) or ""


def parameter_descriptions(docstring: str) -> dict[str, str]:
    """Return the description of each parameter that a docstring describes; its lines are joined.

    Args:
        docstring: as `inspect.getdoc` returns it.
    """
    lines = docstring.splitlines()
    found: dict[str, str] = {}
    section = _section(lines)
    if section is None:
        return found
    start, end, is_numpy = section
    for names, text in (_numpy_entries if is_numpy else _google_entries)(lines[start:end]):
        for name in re.split(r"\s*,\s*", names):
            if text:
                found[name.lstrip("*")] = text
    return found


def without_parameters(docstring: str) -> str:
    """Return a docstring without the section that describes its parameters."""
    lines = docstring.splitlines()
    section = _section(lines)
    if section is None:
        return docstring
    start, end, is_numpy = section
    kept = [*lines[: start - (2 if is_numpy else 1)], *lines[end:]]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _section(lines: list[str]) -> tuple[int, int, bool] | None:
    """Return the first and the last line of the section of parameters, and whether it has the style of NumPy."""
    for number, line in enumerate(lines[:-1]):
        if _GOOGLE.fullmatch(line) and lines[number + 1][:1].isspace():
            return number + 1, _end_of_google(lines, number + 1), False
        if line.rstrip() == _NUMPY and re.fullmatch("-{3,}", lines[number + 1].rstrip()):
            return number + 2, _end_of_numpy(lines, number + 2), True
    return None


def _end_of_google(lines: list[str], start: int) -> int:
    for number in range(start, len(lines)):
        if lines[number].strip() and not lines[number][:1].isspace():
            return number
    return len(lines)


def _end_of_numpy(lines: list[str], start: int) -> int:
    for number in range(start, len(lines) - 1):
        if lines[number].strip() and re.fullmatch("-{3,}", lines[number + 1].rstrip()):
            return number
    return len(lines)


def _google_entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    names, text = "", [""]
    for line in lines:
        entry = _ENTRY.fullmatch(line.strip()) if line[indent : indent + 1].strip() else None
        if entry is None:
            text.append(line.strip())
            continue
        yield names, _joined(text)
        names, text = entry["names"], [entry["text"] or ""]
    yield names, _joined(text)


def _numpy_entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    names, text = "", [""]
    for line in lines:
        entry = _NUMPY_ENTRY.fullmatch(line.rstrip()) if line and not line[0].isspace() else None
        if entry is None:
            text.append(line.strip())
            continue
        yield names, _joined(text)
        names, text = entry["names"], []
    yield names, _joined(text)


def _joined(lines: list[str]) -> str:
    return " ".join(line for line in lines if line)
