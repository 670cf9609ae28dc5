"""Print results, tables and errors of the `portal` command.

Text from a server or a module may contain control characters, which a terminal would execute. `echo` prints everything
and escapes them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..errors import PortalError

__all__ = ["echo", "echo_error", "echo_json", "echo_table", "error_lines", "printable"]

#: C0 and C1 control characters but tab and newline, and the controls that change the direction of text.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return the text with control characters as `\\uXXXX`, as in JSON strings."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, or several, without control characters.

    Args:
        err: print to stderr, not stdout.
    """
    click.echo(printable(text), err=err)


def echo_json(value: Any, *, pretty: bool = False, err: bool = False) -> None:
    """Print a value as JSON. It is one line unless `pretty` is set."""
    echo(json.dumps(value, ensure_ascii=False, indent=2 if pretty else None), err=err)


def echo_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows as aligned columns. Lines wrap at the width of a terminal, but not in a pipe or file."""
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def echo_error(error: PortalError, *, as_json: bool) -> None:
    """Print an error to stderr: one line of JSON, or a line of text and one more for each fault."""
    if as_json:
        echo_json(error.to_dict(), err=True)
        return
    for line in error_lines(error):
        echo(line.replace("\n", "\n  "), err=True)


def error_lines(error: PortalError) -> Iterator[str]:
    """Yield the lines that `echo_error` prints for people."""
    faults: Iterable[Any] = getattr(error, "errors", ())
    title = f"error: {type(error).__name__}"
    if not faults:
        yield f"{title}: {error}"
        return
    number = len(list(faults))
    yield f"{title}: {number} fault{'s' if number > 1 else ''}"
    for fault in faults:
        yield f"  {fault.path or '(the whole value)'}: {fault.message}"
