"""Write a result that is a file: to --output, or to stdout if that is not a terminal.

The name that the server offers is shown and never used as a path.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ..output import OutputError, discard_stdout, echo, one_line

if TYPE_CHECKING:
    from ...schema import File, FunctionSchema

__all__ = ["OUTPUT", "check_output", "file_type", "write_file"]

OUTPUT = "--output"


def check_output(path: str, schema: FunctionSchema) -> None:
    """Reject an output that could not be written, before the function is called. Raises: click.BadParameter."""
    if schema.transfer is None or not schema.transfer.result:
        raise click.BadParameter(f"{schema.name} does not return a file; leave it out", param_hint=OUTPUT)
    if path == "-":
        if _is_terminal():
            message = "a file is not written to a terminal; name a file, or redirect stdout"
            raise click.BadParameter(message, param_hint=OUTPUT)
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.path.basename(path):
        raise click.BadParameter(f"{path} is a directory; name the file in it", param_hint=OUTPUT)
    if not os.path.isdir(folder):
        raise click.BadParameter(f"the directory {folder} does not exist", param_hint=OUTPUT)
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise click.BadParameter(f"{path} may not be written", param_hint=OUTPUT)


def file_type(schema: FunctionSchema) -> Any:
    """Return the type to load the result of a function into, or None if it does not return a file."""
    from ...schema import Bytes, File

    kind = "" if schema.transfer is None else schema.transfer.result
    return {"file": File | None, "bytes": Bytes | None}.get(kind)


def write_file(result: File | bytes | None, path: str | None) -> None:
    """Write a file, or describe it if `path` is None and stdout is a terminal. None, which is not a file, is `null`.

    Args:
        result: what the function has returned.
        path: of the file to write; "-" and None are stdout.

    Raises: OutputError.
    """
    if result is None:
        echo("null")
        return
    from ...schema import File

    file = result if isinstance(result, File) else File(result)
    if path not in (None, "-"):
        _write(path, file.chunks())
    elif path is None and _is_terminal():
        known = [one_line(file.name)] if file.name else []
        media = [one_line(file.type)] if isinstance(result, File) else []
        size = f"{file.size} byte{'' if file.size == 1 else 's'}"
        echo(f"{', '.join([*known, *media, size])}; use {OUTPUT} FILE")
    else:
        _write_to_stdout(file.chunks())


def _write(path: str, pieces: Iterable[bytes]) -> None:
    try:
        with open(path, "wb") as file:
            file.writelines(pieces)
    except OSError as error:
        raise OutputError(f"{one_line(path)} cannot be written: {error.strerror}") from error


def _write_to_stdout(pieces: Iterable[bytes]) -> None:
    stream = sys.stdout
    if stream is None:
        return
    try:
        stream.flush()
        stream.buffer.writelines(pieces)
        stream.buffer.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # click ends the command
        discard_stdout()
        raise OutputError(f"the output cannot be written: {error.strerror}") from error


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()
