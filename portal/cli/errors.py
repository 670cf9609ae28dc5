"""What every command shares: exit codes, and how an error is told.

What a person reads of an error goes to stderr: `error: ...`, and one line for each fault. Where the output is JSON the
error is too: one line on stderr, as `PortalError.to_dict()` gives it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..errors import PortalError

__all__ = ["FAILED", "MISUSED", "NOT_FOUND", "REFUSED", "UNREACHABLE", "reported"]

FAILED, MISUSED, REFUSED, NOT_FOUND, UNREACHABLE = range(1, 6)


def _exit_code(error: PortalError) -> int:
    from .. import errors

    if isinstance(error, errors.RegistryError) and error.kind == "not_found":
        return NOT_FOUND
    if isinstance(error, errors.ValidationError | errors.AddressError | errors.RegistryError):
        return REFUSED
    if isinstance(error, errors.ConfigError):
        return MISUSED
    unreachable = errors.CallTimeout | errors.TransportError | errors.OverloadedError | errors.CircuitOpenError
    return UNREACHABLE if isinstance(error, unreachable) else FAILED


@contextmanager
def reported(as_json: bool, unreachable: int = UNREACHABLE) -> Iterator[None]:
    """Report a portal error as lines on stderr and exit; `unreachable` is the exit code for a failed connection."""
    from ..errors import PortalError

    try:
        yield
    except PortalError as error:
        if as_json:
            click.echo(json.dumps(error.to_dict(), ensure_ascii=False), err=True)
        else:
            for line in _lines(error):
                click.echo(line, err=True)
        code = _exit_code(error)
        raise SystemExit(unreachable if code == UNREACHABLE else code) from error


def _lines(error: PortalError) -> Iterator[str]:
    faults = getattr(error, "errors", ())
    if not faults:
        yield f"error: {type(error).__name__}: {error}"
        return
    yield f"error: {type(error).__name__}: {len(faults)} fault{'s' if len(faults) > 1 else ''}"
    for fault in faults:
        yield f"  {fault.path or '(the whole value)'}: {fault.message}"
