"""Writer: the lines of a generated function, with names for its variables and constants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..jsondata import is_encodable

__all__ = ["Misfit", "TooLarge", "Writer"]

#: More lines are not generated: a class with many fields, which other classes use often, is written at each use.
MAX_LINES = 600
#: CPython compiles at most 20 nested loops, and 100 levels of indentation.
MAX_DEPTH = 16


class Misfit(Exception):
    """Generated code does not accept a value; it may fit all the same."""


class TooLarge(Exception):
    """The code for a schema would be too long or nested too deeply."""


class Writer:
    """Collects the lines of one function.

    Args:
        checks: whether values are checked. Without it they are known to fit.
        builds: whether converted values are made.
        indent: the indentation of the first line.

    Attributes:
        scope: the constants by name.

    Threads: one.
    """

    def __init__(self, *, checks: bool = True, builds: bool = True, indent: int = 1) -> None:
        self.checks = checks
        self.builds = builds
        self.scope: dict[str, Any] = {"Misfit": Misfit, "is_encodable": is_encodable}
        self._constants: dict[int, str] = {}
        self._lines: list[str] = []
        self._depth = indent
        self._names = 0

    @property
    def text(self) -> str:
        """The lines so far."""
        return "\n".join(self._lines)

    def name(self) -> str:
        """Return the name of a new local variable."""
        self._names += 1
        return f"v{self._names}"

    def constant(self, value: Any) -> str:
        """Return the name of a constant."""
        name = self._constants.setdefault(id(value), f"c{len(self.scope)}")
        self.scope[name] = value
        return name

    def line(self, text: str) -> None:
        """Add a statement. Raises: TooLarge."""
        if len(self._lines) >= MAX_LINES:
            raise TooLarge
        self._lines.append(" " * self._depth + text)

    def reject_if(self, condition: str) -> None:
        """Leave the function if a condition on a value holds, unless values are known to fit."""
        if self.checks:
            self.line(f"if {condition}: raise Misfit")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Indent the lines that are added inside. Raises: TooLarge."""
        if self._depth >= MAX_DEPTH:
            raise TooLarge
        self.line(head)
        self._depth += 1
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._depth -= 1
