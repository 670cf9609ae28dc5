"""Read the values of arguments from stdin and from files: `-` and `@FILE`."""

from __future__ import annotations

import sys

import click

__all__ = ["MAX_INPUT", "read_input"]

#: Bytes that are read of a file or of stdin.
MAX_INPUT = 64 * 1024 * 1024


def read_input(text: str, hint: str) -> str:
    """Return the text of stdin for `-`, that of a file for `@FILE`, and any other text as it is.

    Raises: click.BadParameter for a file that cannot be read, or that is too large. It names the argument `hint`.
    """
    if text != "-" and not (text.startswith("@") and len(text) > 1):
        return text
    try:
        if text == "-":
            data = sys.stdin.buffer.read(MAX_INPUT + 1) if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
        else:
            with open(text[1:], "rb") as file:
                data = file.read(MAX_INPUT + 1)
        if len(data) > MAX_INPUT:
            raise click.BadParameter(f"must have at most {MAX_INPUT:,} bytes", param_hint=hint)
        return data.decode()
    except OSError as error:
        raise click.BadParameter(f"cannot read {text[1:]}: {error.strerror}", param_hint=hint) from error
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"must be UTF-8 text: {error.reason}", param_hint=hint) from error
