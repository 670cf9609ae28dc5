"""Fault: one violation of a schema by one value; how many are listed, and how a value is shortened for a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MAX_FAULTS", "MAX_TEXT", "Fault", "faults_of", "limit_faults", "shorten"]

#: Faults that one error lists: a body of 1 MiB may hold 300,000, which would make a response of 36 MiB.
MAX_FAULTS = 1000
#: Characters that they have together. Each path repeats the names around a value, and the body may hold one long name.
MAX_TEXT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """One violation of a schema by one value.

    Attributes:
        path: JSON Pointer to the value (RFC 6901); "" is the whole value.
        message: one sentence for a person.
        rule: the JSON Schema keyword that the value violates, or "finite", "depth", "json" for what JSON cannot carry.
        expected: what the rule requires, as JSON data.
        value: the offending value, shortened, as text.

    Threads: immutable; any thread may read it.
    """

    path: str
    message: str
    rule: str
    expected: Any = None
    value: str = ""

    @property
    def length(self) -> int:
        """Characters that the fault takes in a list, about."""
        expected = self.expected
        length = len(self.path) + len(self.message) + len(self.value)
        if isinstance(expected, str):
            return length + len(expected)
        return length + len(repr(expected)) if isinstance(expected, list | dict) else length

    def to_dict(self) -> dict[str, Any]:
        """Return the fault as JSON data, with a member for each attribute."""
        return {
            "path": self.path,
            "message": self.message,
            "rule": self.rule,
            "expected": self.expected,
            "value": self.value,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fault:
        """Return the fault that `to_dict` wrote; absent members are empty."""
        return cls(
            path=str(data.get("path", "")),
            message=str(data.get("message", "")),
            rule=str(data.get("rule", "")),
            expected=data.get("expected"),
            value=str(data.get("value", "")),
        )


def limit_faults(faults: Iterable[Fault], max_text: int = MAX_TEXT) -> list[Fault]:
    """Return the faults in order; of too many or too long ones the first, and one that says so (rule "faults").

    It takes no more of the faults than it returns, and one.
    """
    found: list[Fault] = []
    for fault in faults:
        max_text -= fault.length
        if len(found) == MAX_FAULTS or (max_text < 0 and found):
            message = f"there are more faults; only the first {len(found)} are listed"
            found.append(Fault("", message, "faults", len(found)))
            break
        found.append(fault)
    return found


def faults_of(rows: object) -> tuple[Fault, ...]:
    """Return the faults in a list that a peer sent. Other items are ignored."""
    if not isinstance(rows, Iterable) or isinstance(rows, str | Mapping):
        return ()
    return tuple(row if isinstance(row, Fault) else Fault.from_dict(row) for row in rows if _is_fault(row))


def _is_fault(row: object) -> bool:
    return isinstance(row, Mapping | Fault)


def shorten(value: Any, limit: int = 80) -> str:
    """Return the value as text of at most `limit` characters; cheap for large values, safe for any value."""
    try:
        text = _render(value, limit, 4)
    except Exception:  # a __repr__ of user code may raise anything
        text = f"<{type(value).__name__}>"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _render(value: Any, limit: int, depth: int) -> str:
    kind = type(value)
    if kind is str or kind is bytes:
        return repr(value[: limit + 1])
    if kind is int and value.bit_length() > 1024:
        return f"<integer of {value.bit_length()} bits>"
    if kind is dict or kind is list:
        if depth == 0:
            return "{...}" if kind is dict else "[...]"
        return _render_container(value, limit, depth)
    return repr(value)


def _render_container(value: Any, limit: int, depth: int) -> str:
    parts: list[str] = []
    length = 0
    for item in value:
        text = _render(item, limit, depth - 1)
        if type(value) is dict:
            text = f"{text}: {_render(value[item], limit, depth - 1)}"
        parts.append(text)
        length += len(text) + 2
        if length > limit:
            break
    inner = ", ".join(parts)
    return f"{{{inner}}}" if type(value) is dict else f"[{inner}]"
