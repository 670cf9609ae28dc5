"""Fault: one violation of a schema by one value. `shorten` prepares values for messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Fault", "faults_of", "shorten"]


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
