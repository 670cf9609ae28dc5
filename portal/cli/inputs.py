"""Read the values of arguments from stdin and from files: `-` and `@FILE`."""

from __future__ import annotations

import sys

import click

__all__ = ["MAX_INPUT", "is_input", "read_bytes", "read_input"]

#: Bytes that are read of a file or of stdin.
MAX_INPUT = 64 * 1024 * 1024


def is_input(text: str) -> bool:
    """Return whether a text stands for stdin or for a file."""
    return text == "-" or (text.startswith("@") and len(text) > 1)


def read_input(text: str, hint: str) -> str:
    """Return the text of stdin for `-`, that of a file for `@FILE`, and any other text as it is.

    Raises: click.BadParameter for a file that cannot be read, or that is too large. It names the argument `hint`.
    """
    if not is_input(text):
        return text
    try:
        return read_bytes(text, hint).decode()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"must be UTF-8 text: {error.reason}", param_hint=hint) from error


def read_bytes(text: str, hint: str) -> bytes:
    """Return the content of stdin for `-`, and that of a file for `@FILE`. Raises: click.BadParameter."""
    try:
        if text == "-":
            data = sys.stdin.buffer.read(MAX_INPUT + 1) if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
        else:
            with open(text[1:], "rb") as file:
                data = file.read(MAX_INPUT + 1)
    except OSError as error:
        raise click.BadParameter(f"cannot read {text[1:]}: {error.strerror}", param_hint=hint) from error
    if len(data) > MAX_INPUT:
        raise click.BadParameter(f"must have at most {MAX_INPUT:,} bytes", param_hint=hint)
    return data
