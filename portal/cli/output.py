"""Print results, tables and errors of the `portal` command.

Text from a server or a module may contain control characters, which a terminal would execute, and characters that hide
or reorder text. `echo` prints everything and escapes them. It also escapes characters that the encoding of the terminal
does not have, as JSON does, so that printed JSON stays JSON.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..errors import PortalError

__all__ = [
    "LogFormatter",
    "OutputError",
    "discard_stdout",
    "echo",
    "echo_error",
    "echo_json",
    "echo_table",
    "error_lines",
    "escape_unencodable",
    "one_line",
    "printable",
]

#: C0 and C1 control characters but tab and newline; controls that change the direction of text; invisible characters,
#: but not the joiners that scripts and emoji need; lone surrogates, which some terminals get as bytes (PEP 383).
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_BREAKS = re.compile("[\t\n]")


def printable(text: str) -> str:
    """Return the text with unsafe characters as `\\uXXXX`, as in JSON strings."""
    return _UNSAFE.sub(_escaped, text)


def one_line(text: object) -> str:
    """Return a value as printable text without line breaks and tabs: a name, an address, a type."""
    return _BREAKS.sub(_escaped, printable(str(text)))


def _escaped(found: re.Match[str]) -> str:
    return _escape(found[0])


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)  # JSON has a surrogate pair (RFC 8259 section 7)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _escape_all(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_escape, error.object[error.start : error.end])), error.end


codecs.register_error("portal-json-escape", _escape_all)


def escape_unencodable() -> None:
    """Have stdout and stderr write `\\uXXXX` for a character that their encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="portal-json-escape")


class OutputError(click.ClickException):
    """stdout cannot be written, for example because the disk is full."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        """Print the message to stderr."""
        echo(f"error: {self.message}", err=True)


class LogFormatter(logging.Formatter):
    """Formats log lines for a terminal, and escapes the control characters of clients and servers in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without unsafe characters."""
        return printable(super().format(record))


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, or several, without control characters.

    Args:
        err: print to stderr, not stdout.

    Raises: OutputError if stdout cannot be written. BrokenPipeError if its reader has gone, which click handles.
    """
    _write(printable(text), err)


def _write(text: str, err: bool = False) -> None:
    stream = sys.stderr if err else sys.stdout
    if stream is None:
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        if not err:
            discard_stdout()
            raise OutputError(f"the output cannot be written: {error.strerror}") from error


def discard_stdout() -> None:
    """Let the interpreter write what is left in the buffer to nowhere, so that it does not fail again when it ends."""
    with suppress(OSError, ValueError):  # stdout may have no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    text = io.StringIO()
    Console(file=text, highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)
    for line in text.getvalue().splitlines():
        _write(line.rstrip())


def echo_error(error: PortalError, *, as_json: bool) -> None:
    """Print an error to stderr: one line of JSON, or a line of text and one more for each fault."""
    if as_json:
        echo_json(error.to_dict(), err=True)
        return
    for line in error_lines(error):
        echo(line.replace("\n", "\n  "), err=True)


def _kind_of(error: PortalError) -> str:
    """Return the class of an error, with its code if users declared it; the code alone of an unknown class."""
    kind = type(error)
    if error.code == kind.code:
        own = kind.__module__.startswith("portal.errors.")
        return kind.__name__ if own else f"{kind.__name__} ({one_line(error.code)})"
    return one_line(error.code)


def error_lines(error: PortalError) -> Iterator[str]:
    """Yield the lines that `echo_error` prints for people."""
    faults: Iterable[Any] = getattr(error, "errors", ())
    title = f"error: {_kind_of(error)}"
    if not faults:
        yield f"{title}: {error}"
        return
    number = len(list(faults))
    yield f"{title}: {number} fault{'s' if number > 1 else ''}"
    for fault in faults:
        yield f"  {fault.path or '(the whole value)'}: {fault.message}"
