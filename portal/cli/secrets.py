"""Secrets in options. `$NAME` keeps the value out of the process list and the history of the shell."""

from __future__ import annotations

import os

import click

__all__ = ["secret"]


def secret(text: str, hint: str) -> str:
    """Resolve a secret option; `$NAME` reads the environment variable NAME.

    Args:
        text: the value of the option.
        hint: the name of the option for the message.

    Raises: click.BadParameter if the variable is not set or empty.
    """
    if not text.startswith("$"):
        return text
    value = os.environ.get(text[1:], "")
    if not value:
        raise click.BadParameter(f"the environment variable {text[1:]} is not set or empty", param_hint=hint)
    return value
