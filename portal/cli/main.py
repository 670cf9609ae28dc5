"""The command `portal`, a group of subcommands. Each subcommand has a module of its own."""

from __future__ import annotations

import logging
from typing import Any

import click

from .. import __version__
from .batches.map_calls import map_
from .calls.call import call
from .describe import describe, explain, list_
from .errors import EXIT_CODES, INTERRUPTED
from .javascript import js
from .openapi import openapi
from .output import LogFormatter, echo, escape_unencodable
from .serve import serve
from .stubs.command import stub
from .topics import publish, subscribe

__all__ = ["main"]


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            echo("error: interrupted", err=True)
            raise SystemExit(INTERRUPTED) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="portal", message="%(prog)s %(version)s")
def main() -> None:
    """Publish Python functions and call them by address."""
    escape_unencodable()
    if logging.lastResort is not None:  # prints warnings where a module has not set up logging
        logging.lastResort.setFormatter(LogFormatter())


for _command in (call, describe, explain, js, list_, map_, openapi, publish, serve, stub, subscribe):
    main.add_command(_command)
