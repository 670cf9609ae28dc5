"""Exit codes of the `portal` command, and how it reports errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .output import echo_error

if TYPE_CHECKING:
    from ..errors import PortalError

__all__ = [
    "EXIT_CODES",
    "FAILED",
    "INTERRUPTED",
    "INVALID",
    "MISUSED",
    "NOT_FOUND",
    "UNAUTHORIZED",
    "UNREACHABLE",
    "exit_code",
    "reported",
]

FAILED, MISUSED, INVALID, NOT_FOUND, UNREACHABLE, UNAUTHORIZED = range(1, 7)
INTERRUPTED = 130  # as shells have it for SIGINT

EXIT_CODES = """\b
Exit codes:
  0  success
  1  the function or the server failed
  2  wrong usage of the command
  3  invalid input (ValidationError, AddressError)
  4  no function is published at this address
  5  the server is unreachable, overloaded or too slow
  6  the credential is missing or invalid, or lacks a right
  130  interrupted by Ctrl-C
"""


def exit_code(error: PortalError) -> int:
    """Return the exit code for an error."""
    from .. import errors

    if isinstance(error, errors.RegistryError) and error.kind == "not_found":
        return NOT_FOUND
    if isinstance(error, errors.ValidationError | errors.AddressError | errors.RegistryError):
        return INVALID
    if isinstance(error, errors.ConfigError):
        return MISUSED
    if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
        return UNAUTHORIZED
    unreachable = errors.CallTimeout | errors.TransportError | errors.OverloadedError | errors.CircuitOpenError
    return UNREACHABLE if isinstance(error, unreachable) else FAILED


@contextmanager
def reported(as_json: bool, unreachable: int = UNREACHABLE) -> Iterator[None]:
    """Print a portal error to stderr and exit.

    Args:
        as_json: print the error as one line of JSON, the result of `PortalError.to_dict()`.
        unreachable: the exit code in place of 5.
    """
    from ..errors import PortalError

    try:
        yield
    except PortalError as error:
        echo_error(error, as_json=as_json)
        code = exit_code(error)
        raise SystemExit(unreachable if code == UNREACHABLE else code) from error
